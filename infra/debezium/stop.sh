#!/usr/bin/env bash
# Stops the Connect that start.sh started in a directory, by its pid. How far it has read stays.
set -euo pipefail

[ $# = 1 ] || { echo "usage: infra/debezium/stop.sh DIRECTORY" >&2; exit 2; }
[ -f "$1/pid" ] || { echo "debezium: no Connect runs in $1." >&2; exit; }
pid=$(cat "$1/pid")
kill "$pid" 2>/dev/null || true
for _ in $(seq 100); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
# What it has not noted as read it reads again.
kill -9 "$pid" 2>/dev/null || true
rm -f "$1/pid"
