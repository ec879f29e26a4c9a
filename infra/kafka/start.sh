#!/usr/bin/env bash
# Starts one Kafka broker (KRaft, no Docker) on free loopback ports and prints its bootstrap address once it is ready.
# Needs Java 17 or newer and, the first time, Maven: the jars go to .tools/kafka.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/kafka/start.sh DIRECTORY

Keeps data, log and pid of the broker in DIRECTORY (made if it is not there). A broker stopped with stop.sh DIRECTORY
and started again keeps its port and its topics.
TEXT
}

fail() {
  printf 'kafka: %s\n' "$@" >&2
  exit 1
}

[ $# = 1 ] || { usage >&2; exit 2; }
case "$1" in -h | --help) usage; exit ;; esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/.venv/bin/python
mkdir -p "$1"
directory=$(cd "$1" && pwd)

command -v java >/dev/null || fail "java was not found." "Install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless) and run this again."
[ -x "$python" ] || fail "there is no .venv: run infra/setup.sh first."
if [ -f "$directory/pid" ] && kill -0 "$(cat "$directory/pid")" 2>/dev/null; then
  fail "a broker already runs in $directory (pid $(cat "$directory/pid")): infra/kafka/stop.sh $directory stops it."
fi

# The jars of this pom: made once, and put in place whole.
jars=$root/.tools/kafka/$(cksum <"$here/pom.xml" | cut -d' ' -f1)
if [ ! -d "$jars" ]; then
  command -v mvn >/dev/null || fail "mvn was not found, and the broker's jars are not in .tools yet." "Install Maven (Debian: apt-get install maven) and run this again."
  echo "kafka: fetching the broker's jars into .tools (once)" >&2
  mkdir -p "$root/.tools/kafka"
  fetched=$(mktemp -d "$root/.tools/kafka/fetch.XXXXXX")
  mvn -q -B -ntp -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fetched" >&2 ||
    fail "Maven could not fetch the jars; the reason is above." "Check that it reaches its repository, then run this again."
  mv -T "$fetched" "$jars" 2>/dev/null || rm -rf "$fetched" # another start was faster
fi

if [ ! -f "$directory/server.properties" ]; then
  read -r port controller < <("$python" - <<'PYTHON'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in held))
PYTHON
  )
  cat >"$directory/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$directory/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
PROPERTIES
fi
address=$(sed -n 's/^advertised.listeners=PLAINTEXT:\/\///p' "$directory/server.properties")

java=(java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn)

if [ ! -d "$directory/data" ]; then
  id=$("$python" -c 'import base64, uuid; print(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))')
  "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$directory/server.properties" >"$directory/broker.log" 2>&1 ||
    fail "formatting $directory failed:" "$(tail -5 "$directory/broker.log")"
fi

"${java[@]}" kafka.Kafka "$directory/server.properties" >>"$directory/broker.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$directory/pid"

# Ready is: it answers a client, and has registered itself.
"$python" - "$address" "$pid" <<'PYTHON' || { kill "$pid" 2>/dev/null; rm -f "$directory/pid"; fail "the broker did not become ready:" "$(tail -5 "$directory/broker.log")"; }
import os, sys, time
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
address, pid = sys.argv[1], int(sys.argv[2])
admin = AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    os.kill(pid, 0)
    try:
        if admin.list_topics(timeout=1).brokers:
            sys.exit(0)
    except KafkaException:
        time.sleep(0.1)
sys.exit(1)
PYTHON
echo "$address"
