#!/usr/bin/env bash
# Starts PostgreSQL with the legacy ERP's tables on a free loopback port and prints its URL once it is ready.
# Needs PostgreSQL 14 or newer. Its users and passwords are those of a sandbox: keep nothing in it.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/erp/start.sh DIRECTORY

Keeps data and log of the server in DIRECTORY (made if it is not there). A server stopped with stop.sh DIRECTORY and
started again keeps its port and its rows. The tables are empty at first:
  .venv/bin/python -m infra.erp.seed URL connectors/erp/sample/final    fills them
  .venv/bin/python -m infra.erp.load URL --seconds 30                   works with them
TEXT
}

fail() {
  printf 'erp: %s\n' "$@" >&2
  exit 1
}

[ $# = 1 ] || { usage >&2; exit 2; }
case "$1" in -h | --help) usage; exit ;; esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$here/../../.venv/bin/python
mkdir -p "$1"
directory=$(cd "$1" && pwd)

# Debian keeps the server's programs out of the PATH.
for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
  [ ! -x "$bin/initdb" ] || break
done
[ -x "${bin:-}/initdb" ] || bin=$(dirname "$(command -v initdb || echo /none/initdb)")
[ -x "$bin/initdb" ] || fail "PostgreSQL was not found." "Install it (Debian: apt-get install postgresql) and run this again."
[ -x "$python" ] || fail "there is no .venv: run infra/setup.sh first."

# The server refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || fail "there is no user postgres to run the server as, and it refuses to run as root." "Run this as another user."
  as=(runuser -u postgres --)
  chown postgres: "$directory"
  "${as[@]}" test -w "$directory" || fail "user postgres cannot write to $directory: a directory above it is closed to others." "Choose another one."
fi
server() { (cd "$directory" && "${as[@]}" "$bin/$1" -D "$directory/data" "${@:2}"); }

if [ -d "$directory/data" ] && server pg_ctl status >/dev/null; then
  fail "a server already runs in $directory: infra/erp/stop.sh $directory stops it."
fi

if [ ! -f "$directory/port" ]; then
  rm -rf "$directory/data"
  printf 'erp\n' >"$directory/password"
  chmod a+r "$directory/password"
  server initdb --username=erp --pwfile="$directory/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C >"$directory/initdb.log" 2>&1 ||
    fail "initdb failed:" "$(tail -5 "$directory/initdb.log")"
  # Below the ports that the system gives to outgoing connections, one of which could otherwise keep the server from coming back.
  port=$("$python" - <<'PYTHON'
import random, socket
while True:
    try:
        print(socket.create_server(("127.0.0.1", random.randrange(20_000, 30_000))).getsockname()[1])
        break
    except OSError:
        continue
PYTHON
  )
  "${as[@]}" tee -a "$directory/data/postgresql.conf" >/dev/null <<CONF
$(cat "$here/postgresql.conf")
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = $port
CONF
fi
port=${port:-$(cat "$directory/port")}
url=postgresql://erp:erp@127.0.0.1:$port/erp

server pg_ctl start --wait --timeout=60 --silent --log="$directory/postgres.log" >/dev/null ||
  fail "the server did not start:" "$(tail -5 "$directory/postgres.log")"

if [ ! -f "$directory/port" ]; then
  "$bin/psql" --quiet --no-psqlrc --dbname="${url%/erp}/postgres" --command='CREATE DATABASE erp' &&
    "$bin/psql" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --dbname="$url" --file="$here/schema.sql" ||
    fail "the tables could not be made; the reason is above."
  echo "$port" >"$directory/port"
fi
echo "$url"
