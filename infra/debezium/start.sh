#!/usr/bin/env bash
# Starts Kafka Connect with Debezium, which feeds the ERP's changes to crossdock's raw topics, and prints the address of its
# REST API once the feed is running. Needs Java 17 or newer and, the first time, Maven: the jars go to .tools/debezium.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/debezium/start.sh DIRECTORY BROKER ERP

BROKER is the bootstrap address infra/kafka/start.sh prints, ERP the URL infra/erp/start.sh prints. The raw topics have to be
there: crossdock makes them. DIRECTORY (made if it is not there) keeps how far the feed has been read: stopped with
stop.sh DIRECTORY, or killed, and started again, it goes on from there.
TEXT
}

fail() {
  printf 'debezium: %s\n' "$@" >&2
  exit 1
}

case "${1:-}" in -h | --help) usage; exit ;; esac
[ $# = 3 ] || { usage >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/.venv/bin/python
mkdir -p "$1"
directory=$(cd "$1" && pwd)
[[ $3 =~ ^postgresql://[^:@/]+(:[^@/]*)?@([^:@/]+):([0-9]+)/([^/?]+)$ ]] ||
  fail "$3 is not like postgresql://user:password@host:port/database."
host=${BASH_REMATCH[2]} port=${BASH_REMATCH[3]} database=${BASH_REMATCH[4]}

command -v java >/dev/null || fail "java was not found." "Install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless) and run this again."
[ -x "$python" ] || fail "there is no .venv: run infra/setup.sh first."
if [ -f "$directory/pid" ] && kill -0 "$(cat "$directory/pid")" 2>/dev/null; then
  fail "Connect already runs in $directory (pid $(cat "$directory/pid")): infra/debezium/stop.sh $directory stops it."
fi

# The jars of this pom: made once, and put in place whole.
jars=$root/.tools/debezium/$(cksum <"$here/pom.xml" | cut -d' ' -f1)
if [ ! -d "$jars" ]; then
  command -v mvn >/dev/null || fail "mvn was not found, and Debezium's jars are not in .tools yet." "Install Maven (Debian: apt-get install maven) and run this again."
  echo "debezium: fetching the jars into .tools (once)" >&2
  mkdir -p "$root/.tools/debezium"
  fetched=$(mktemp -d "$root/.tools/debezium/fetch.XXXXXX")
  mvn -q -B -ntp -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fetched" >&2 ||
    fail "Maven could not fetch the jars; the reason is above." "Check that it reaches its repository, then run this again."
  mv -T "$fetched" "$jars" 2>/dev/null || rm -rf "$fetched" # another start was faster
fi

listen=$("$python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
url=http://127.0.0.1:$listen

# The feed reads as its own user, whoever made the tables.
KAFKA=$2 CONNECT=$url OFFSETS=$directory/offsets ERP_HOST=$host ERP_PORT=$port ERP_DATABASE=$database ERP_USER=cdc_reader ERP_PASSWORD=cdc_reader \
  java -Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
  -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
  -Dorg.slf4j.simpleLogger.log.io.debezium.connector.postgresql.TypeRegistry=error \
  org.apache.kafka.connect.cli.ConnectStandalone "$here/worker.properties" "$here/erp.json" \
  >>"$directory/connect.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$directory/pid"

# Ready is: the connector's task runs.
"$python" - "$url/connectors/erp/status" "$pid" <<'PYTHON' || { kill "$pid" 2>/dev/null; rm -f "$directory/pid"; fail "Connect did not become ready:" "$(tail -5 "$directory/connect.log")"; }
import json, os, sys, time, urllib.request
url, pid = sys.argv[1], int(sys.argv[2])
ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    os.kill(pid, 0)
    try:
        with ask.open(url, timeout=5) as answer:
            tasks = [task["state"] for task in json.load(answer)["tasks"]]
        if "FAILED" in tasks:
            break
        if tasks == ["RUNNING"]:
            sys.exit(0)
    except OSError:
        pass
    time.sleep(0.2)
sys.exit(1)
PYTHON
echo "$url"
