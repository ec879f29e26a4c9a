#!/usr/bin/env bash
# Stops the registry that start.sh started in a directory, by its pid. Its schemas stay.
set -euo pipefail

[ $# = 1 ] || { echo "usage: infra/registry/stop.sh DIRECTORY" >&2; exit 2; }
[ -f "$1/pid" ] || { echo "registry: none runs in $1." >&2; exit; }
pid=$(cat "$1/pid")
kill "$pid" 2>/dev/null || true
for _ in $(seq 100); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
kill -9 "$pid" 2>/dev/null || true
rm -f "$1/pid"
