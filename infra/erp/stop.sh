#!/usr/bin/env bash
# Stops the server that start.sh started in a directory. Its data stay.
set -euo pipefail

[ $# = 1 ] || { echo "usage: infra/erp/stop.sh DIRECTORY" >&2; exit 2; }
[ -f "$1/data/postmaster.pid" ] || { echo "erp: no server runs in $1." >&2; exit; }
pid=$(head -1 "$1/data/postmaster.pid")
# SIGINT: connections are ended, and the server leaves in good order.
kill -INT "$pid" 2>/dev/null || true
for _ in $(seq 100); do
  kill -0 "$pid" 2>/dev/null || exit 0
  sleep 0.1
done
# SIGQUIT: at once; what was committed is in its log.
kill -QUIT "$pid" 2>/dev/null || true
