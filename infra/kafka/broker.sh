#!/usr/bin/env bash
# Stops, kills or starts one broker of a cluster that start.sh started, by its own pid.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
usage: infra/kafka/broker.sh stop|kill|start DIRECTORY [NUMBER]

stop: it hands its partitions over first. kill: as a crash (kill -9). start: returns once it answers. NUMBER is needed where
DIRECTORY holds several brokers.
TEXT
}

[ $# = 2 ] || [ $# = 3 ] || { usage >&2; exit 2; }
[ -d "$2" ] || fail "there is no directory $2."
node=$(cd "$2" && pwd)${3:+/$3}
[ -f "$node/server.properties" ] || fail "there is no broker in $node: infra/kafka/start.sh makes brokers."
case "$1" in
  stop) end_node "$node" ;;
  kill) end_node "$node" KILL ;;
  start)
    ! is_running "$node" || fail "the broker in $node already runs (pid $(cat "$node/pid"))."
    require_tools
    find_jars
    launch_node "$node"
    await_node "$node"
    ;;
  *) usage >&2; exit 2 ;;
esac
