#!/usr/bin/env bash
# Starts Kafka brokers (KRaft, no Docker) on free loopback ports and prints their bootstrap addresses once they are ready.
# Needs Java 17 or newer and, the first time, Maven: the jars go to .tools/kafka.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$here/secure.sh"

usage() {
  cat <<'TEXT'
usage: infra/kafka/start.sh [--port PORT] [--brokers N] [--proxied] [--secure USERS] DIRECTORY

Keeps data, log and pid of the broker in DIRECTORY (made if it is not there), of several brokers in DIRECTORY/1, DIRECTORY/2
and so on. Brokers stopped with stop.sh DIRECTORY and started again keep their ports and their topics.
  --port PORT   one broker at this port of loopback, instead of at a free one
  --brokers N   a cluster: everything is kept min(N, 3) times, and a write needs all of these copies but one.
                broker.sh stops, kills and starts one of its brokers
  --proxied     a second listener for each broker, advertised at a port where nothing listens yet: put a proxy there that
                forwards. DIRECTORY/proxied says "advertised=port listening=port" of each broker
  --secure U,V  one broker that lets users in by SASL_SSL with SCRAM-SHA-512, and by SSL with a client certificate, each at a
                listener of its own, to do what ACLs say; the address printed is its administrator's, without a lock.
                The users' passwords and certificates, and what their clients have to be told, are in DIRECTORY/security
                (see clients.json). Needs openssl
TEXT
}

brokers=1 proxied= users= port=
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit ;;
    --port) port=${2:-}; shift 2 ;;
    --brokers) brokers=${2:-}; shift 2 ;;
    --proxied) proxied=yes; shift ;;
    --secure) users=${2:-}; [[ "$users" =~ ^[a-z][a-z0-9,._-]*$ ]] || { usage >&2; exit 2; }; shift 2 ;;
    -*) echo "start.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) break ;;
  esac
done
[ $# = 1 ] && [[ "$brokers" =~ ^[1-9]$ ]] || { usage >&2; exit 2; }
[ "$brokers" = 1 ] || [ -z "$users" ] || fail "--secure is for one broker, not for $brokers: leave one of the options out."
[[ "$port" =~ ^([1-9][0-9]{0,4})?$ ]] || { usage >&2; exit 2; }
[ "$brokers" = 1 ] || [ -z "$port" ] || fail "--port is for one broker, not for $brokers: leave one of the options out."
mkdir -p "$1"
directory=$(cd "$1" && pwd)

require_tools
for node in $(nodes_of "$directory"); do
  ! is_running "$node" || fail "a broker already runs in $node (pid $(cat "$node/pid")): infra/kafka/stop.sh $directory stops it."
done
find_jars

# write_node NODE NUMBER VOTERS PORT CONTROLLER_PORT [LISTENING ADVERTISED]
write_node() {
  local copies=$((brokers < 3 ? brokers : 3)) listeners=PLAINTEXT://127.0.0.1:$4 advertised=PLAINTEXT://127.0.0.1:$4 map=PLAINTEXT:PLAINTEXT
  local enough=$((copies > 1 ? copies - 1 : 1))
  if [ $# -gt 5 ]; then
    listeners+=,PROXIED://127.0.0.1:$6 advertised+=,PROXIED://127.0.0.1:$7 map+=,PROXIED:PLAINTEXT
    echo "advertised=$7 listening=$6" >>"$directory/proxied"
  fi
  mkdir -p "$1"
  cat >"$1/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$2
controller.quorum.voters=$3
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=$listeners,CONTROLLER://127.0.0.1:$5
advertised.listeners=$advertised
listener.security.protocol.map=$map,CONTROLLER:PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$enough
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$enough
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$enough
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
leader.imbalance.check.interval.seconds=2
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
PROPERTIES
}

write_nodes() {
  local each=$((${proxied:+2} + 2)) ports voters= number
  read -ra ports < <(free_ports $((brokers * each)))
  ports[0]=${port:-${ports[0]}}
  for number in $(seq "$brokers"); do
    voters+=${voters:+,}$number@127.0.0.1:${ports[((number - 1) * each + 1)]}
  done
  if [ "$brokers" = 1 ]; then
    write_node "$directory" 1 "$voters" "${ports[@]}"
    [ -z "$users" ] || secure_node "$directory" "$users"
    return
  fi
  for number in $(seq "$brokers"); do
    write_node "$directory/$number" "$number" "$voters" "${ports[@]:$(((number - 1) * each)):$each}"
  done
}

nodes=$(nodes_of "$directory")
if [ ! -f "${nodes%%$'\n'*}/server.properties" ]; then
  write_nodes
  nodes=$(nodes_of "$directory")
  id=$(new_cluster_id)
  for node in $nodes; do
    scram_of "$node" # sets scram
    format_node "$node" "$id" "${scram[@]}"
  done
fi
if [ -n "$port" ]; then
  [ "$(address_of "$directory")" = "127.0.0.1:$port" ] ||
    fail "the broker of $directory keeps its address, $(address_of "$directory"): start it without --port, or give another directory."
  is_free "$port" || fail "port $port is taken: end what listens there, or leave --port out, and a free port is taken and printed."
fi
trap 'for node in $nodes; do end_node "$node"; done' EXIT # all or none
for node in $nodes; do
  launch_node "$node"
done
addresses=
for node in $nodes; do
  await_node "$node"
  addresses+=${addresses:+,}$(address_of "$node")
done
trap - EXIT
echo "$addresses"
