#!/usr/bin/env bash
# Stops the brokers that start.sh started in a directory, by their pids. Their data stay.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# = 1 ] || { echo "usage: infra/kafka/stop.sh DIRECTORY" >&2; exit 2; }
found=
for node in $(nodes_of "$1"); do
  [ -f "$node/pid" ] && found=yes
  end_node "$node" &
done
wait
[ -n "$found" ] || echo "kafka: no broker runs in $1." >&2
