# What start.sh, stop.sh and broker.sh share: sourced, not run. A node is one broker with its own directory.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/.venv/bin/python

fail() {
  printf 'kafka: %s\n' "$@" >&2
  exit 1
}

# The node directories of a directory: itself, or the numbered ones in it.
nodes_of() {
  local node found=
  for node in "$1"/[0-9]*; do
    [ -f "$node/server.properties" ] && { echo "$node"; found=yes; }
  done
  [ -n "$found" ] || echo "$1"
}

is_running() {
  [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null
}

require_tools() {
  command -v java >/dev/null || fail "java was not found." "Install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless) and run this again."
  [ -x "$python" ] || fail "there is no .venv: run infra/setup.sh first."
}

# Sets `java`: the command line of Kafka's tools. The jars of the pom are made once, and put in place whole.
find_jars() {
  local jars fetched
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
  java=(java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn)
}

# So many free ports, below those the system gives to outgoing connections: a client that calls a broker that is down could
# otherwise be given the broker's own port, and keep it from coming back.
free_ports() {
  "$python" - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    try:
        held.append(socket.create_server(("127.0.0.1", random.randrange(20_000, 30_000))))
    except OSError:
        continue
print(*(listener.getsockname()[1] for listener in held))
PYTHON
}

is_free() {
  "$python" -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null
}

new_cluster_id() { # never one that begins like an option
  "$python" - <<'PYTHON'
import base64, uuid
made = "-"
while made.startswith("-"):
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
print(made)
PYTHON
}

# format_node NODE CLUSTER_ID [OPTION...]
format_node() {
  "${java[@]}" kafka.tools.StorageTool format -t "$2" -c "$1/server.properties" "${@:3}" >"$1/broker.log" 2>&1 ||
    fail "formatting $1 failed:" "$(tail -5 "$1/broker.log")"
}

launch_node() {
  "${java[@]}" kafka.Kafka "$1/server.properties" >>"$1/broker.log" 2>&1 </dev/null &
  echo $! >"$1/pid"
}

address_of() {
  sed -n 's/^advertised.listeners=PLAINTEXT:\/\/\([^,]*\).*/\1/p' "$1/server.properties"
}

# await_node NODE: until it answers a client, and has registered itself.
await_node() {
  local node=$1 pid
  pid=$(cat "$node/pid")
  "$python" - "$(address_of "$node")" "$pid" "$(sed -n 's/^node.id=//p' "$node/server.properties")" <<'PYTHON' && return
import os, sys, time
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
address, pid, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
admin = AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    os.kill(pid, 0)
    try:
        if number in admin.list_topics(timeout=1).brokers:
            sys.exit(0)
    except KafkaException:
        pass
    time.sleep(0.1)
sys.exit(1)
PYTHON
  kill "$pid" 2>/dev/null || true
  rm -f "$node/pid"
  fail "the broker in $node did not become ready:" "$(tail -5 "$node/broker.log")"
}

# end_node NODE [SIGNAL]: by its own pid only. A broker that hangs is ended as a crash would end it: what it acknowledged is in its log.
end_node() {
  local node=$1 pid
  [ -f "$node/pid" ] || return 0
  pid=$(cat "$node/pid")
  kill "-${2:-TERM}" "$pid" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$node/pid"
}
