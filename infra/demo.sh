#!/usr/bin/env bash
# Sets up, then runs the demonstration.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    cat <<'TEXT'
usage: infra/demo.sh [options of crossdock demo]

Sets up .venv, then runs `crossdock demo`: on an empty log of its own it takes in a real ERP change feed, starts a sandbox (an
ERP, a WMS, a CRM, a portal and a marketplace as HTTP services of their own process), runs four channels' orders through them
with the live page open to look at, prints what became of them, checks its invariants, and goes on until you interrupt it.
  --once    exit after the summary, with 0 if every invariant holds
  --kafka   on Kafka, with the ERP's rows in PostgreSQL and fed by Debezium: all of it is started on loopback, and stopped
All options: .venv/bin/crossdock demo --help
TEXT
    exit
    ;;
esac

cd "$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
infra/setup.sh
case " $* " in *" --kafka "*) infra/servers.sh ;; esac
exec .venv/bin/crossdock demo "$@"
