#!/usr/bin/env bash
# Sees to it that what runs Kafka, Debezium, the registry and the ERP's database is here: Java, Maven and PostgreSQL.
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says what that is.
set -euo pipefail

has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }

missing=()
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
has_postgres || missing+=(postgresql)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "servers: installing ${missing[*]} with apt-get (once)" >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -y -qq "${missing[@]}" || { apt-get update -qq && apt-get install -y -qq "${missing[@]}"; }; } >/dev/null 2>&1 || true
fi
if ! command -v java >/dev/null || ! command -v mvn >/dev/null || ! has_postgres; then
  printf '%s\n' "servers: Java 17 or newer, Maven and PostgreSQL 14 or newer are needed, and could not be installed here." \
    "Install what is missing (on Debian: apt-get install ${missing[*]}), and run this again." >&2
  exit 1
fi
