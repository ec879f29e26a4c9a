#!/usr/bin/env bash
# Writes two locks anew from pyproject.toml: infra/requirements.lock, what crossdock and its sandbox need to be built and run, and
# infra/requirements-dev.lock, the same and what checks and tests need. Each names every package with its version and hashes, for
# Python 3.11 and newer on any platform. --upgrade takes newer versions, without it the locked ones stay.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

case "$*" in
  "" | "--upgrade") ;;
  *)
    echo "usage: infra/lock.sh [--upgrade]" >&2
    exit 2
    ;;
esac

infra/setup.sh
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  [ -x .tools/bin/uv ] || { .venv/bin/python -m venv .tools && .tools/bin/python -m pip install --quiet uv; }
  uv=.tools/bin/uv
fi
# lock FILE [OPTION...]
lock() {
  .venv/bin/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"]))' |
    "$uv" pip compile pyproject.toml - --extra sandbox --universal --python-version 3.11 --generate-hashes --no-annotate \
      --no-emit-index-url --no-emit-find-links --custom-compile-command infra/lock.sh --quiet --output-file "$@"
}

lock infra/requirements-dev.lock --extra dev "$@"
lock infra/requirements.lock --constraint infra/requirements-dev.lock "$@" # so that what is tested is what runs
