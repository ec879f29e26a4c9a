#!/usr/bin/env bash
# Sets up, then runs every check of the project, and stops at the first that fails.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/test.sh [--quick]

Sets up .venv, then checks style, types, imports and schemas, and runs the tests on plain Python; then it compiles the rules
(infra/compile.sh), tests them again, runs the simulation with them, and goes back to plain Python. The tests on Kafka start the
brokers, Debezium, the registry and the PostgreSQL they use, on loopback: that takes Java 17 or newer, Maven (the first time) and
PostgreSQL, which infra/servers.sh installs if it may.
  --quick   leave out the long ones: tests/simulation, tests/integration, tests/e2e, all tests on Kafka, and all that is compiled
TEXT
}

quick=
for option in "$@"; do
  case "$option" in
    --quick) quick=yes ;;
    -h | --help)
      usage
      exit
      ;;
    *)
      echo "test.sh: unknown option $option" >&2
      usage >&2
      exit 2
      ;;
  esac
done

cd "$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
summary=()

stage() {
  local name=$1 began=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  if ! "$@"; then
    printf '\n'
    [ ${#summary[@]} = 0 ] || printf '   ok  %s\n' "${summary[@]}"
    printf 'FAILED %s after %ds. To run it alone: %s\n' "$name" $((SECONDS - began)) "$*" >&2
    exit 1
  fi
  summary+=("$(printf '%-12s %4ds' "$name" $((SECONDS - began)))")
  printf '== %s: ok, %ds\n' "$name" $((SECONDS - began))
}

stage "setup" infra/setup.sh
infra/compile.sh --remove # first what is written, then what is compiled of it
trap 'infra/compile.sh --remove' EXIT
stage "ruff" .venv/bin/ruff check .
stage "format" .venv/bin/ruff format --check .
stage "mypy" .venv/bin/mypy
stage "imports" .venv/bin/lint-imports
stage "schemas" .venv/bin/python -m schemas.golden --check
if [ -n "$quick" ]; then
  stage "tests" .venv/bin/pytest -q -n auto -m "not kafka" --ignore=tests/simulation --ignore=tests/integration --ignore=tests/e2e
else
  stage "browser" infra/browser.sh
  stage "servers" infra/servers.sh
  stage "tests" .venv/bin/pytest -q -n auto -m "not kafka"
  stage "kafka" .venv/bin/pytest -q -n 2 --dist loadfile -m kafka # much of it is waiting; each of the two has a broker of its own
  stage "compile" infra/compile.sh # from here on the rules are machine code
  stage "compiled" .venv/bin/pytest -q -n auto -m "not kafka" tests/unit/engine tests/unit/tables tests/properties tests/contracts
  stage "simulation" .venv/bin/crossdock simulate --seeds 300 --jobs "$(.venv/bin/python -c 'import os; print(os.cpu_count() or 1)')"
fi

printf '\n'
printf '   ok  %s\n' "${summary[@]}"
printf 'all passed in %ds%s\n' "$SECONDS" "${quick:+ (quick: the long ones were left out)}"
