#!/usr/bin/env bash
# Makes .venv with everything crossdock needs, from infra/requirements-dev.lock. Does nothing when nothing has changed.
# Needs Python 3.11 or newer (CROSSDOCK_PYTHON names one), and uv or pip, which it uses as they are configured.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
lock=$root/infra/requirements-dev.lock

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

is_suitable() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local name
  if [ -n "${CROSSDOCK_PYTHON:-}" ]; then
    is_suitable "$CROSSDOCK_PYTHON" || fail "CROSSDOCK_PYTHON=$CROSSDOCK_PYTHON is no Python 3.11 or newer."
    echo "$CROSSDOCK_PYTHON"
    return
  fi
  for name in python3.11 python3.12 python3.13 python3.14 python3 python; do
    if is_suitable "$name"; then
      echo "$name"
      return
    fi
  done
}

make_venv() {
  local python
  python=$(find_python)
  if command -v uv >/dev/null; then
    # Without a suitable python, uv may bring one of its own.
    uv venv --quiet --clear --python "${python:->=3.11}" "$venv" && return
    [ -n "$python" ] || fail "no Python 3.11 or newer was found, and uv could not bring one." "Install it, or name it in CROSSDOCK_PYTHON."
  fi
  [ -n "$python" ] || fail "no Python 3.11 or newer was found." "Install it, or name it in CROSSDOCK_PYTHON."
  "$python" -m venv --clear "$venv" >/dev/null 2>&1 && return
  rm -rf "$venv"
  local package
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: $python has no venv module; installing $package" >&2
    { apt-get install -y -qq "$package" || { apt-get update -qq && apt-get install -y -qq "$package"; }; } >/dev/null ||
      fail "apt-get could not install $package." "Install it, or uv, and run this again."
    "$python" -m venv --clear "$venv" && return
  fi
  fail "$python cannot make a virtual environment: its venv module is missing." \
    "On Debian or Ubuntu: apt-get install $package. Elsewhere: install uv, or a Python that has venv and pip."
}

install_with_uv() {
  command -v uv >/dev/null || return 1
  uv pip install --quiet --python "$venv/bin/python" --require-hashes --requirement "$lock" &&
    uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable "$root"
}

install_with_pip() {
  local pip=("$venv/bin/python" -m pip --disable-pip-version-check)
  "${pip[@]}" --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || return 1
  "${pip[@]}" install --quiet --require-hashes --requirement "$lock" &&
    "${pip[@]}" install --quiet --no-deps --no-build-isolation --editable "$root"
}

# What the environment was made from; the path is part of it because scripts in .venv/bin hold it.
stamp() {
  "$venv/bin/python" - "$root" "$lock" "$root/pyproject.toml" <<'PYTHON'
import hashlib, pathlib, sys
root, *files = sys.argv[1:]
made_from = hashlib.sha256(f"{root} {sys.version}".encode())
for file in files:
    made_from.update(pathlib.Path(file).read_bytes())
print(made_from.hexdigest())
PYTHON
}

unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
is_suitable "$venv/bin/python" || make_venv
if [ "$(cat "$venv/made-from" 2>/dev/null)" != "$(stamp)" ]; then
  echo "setup: installing what infra/requirements-dev.lock lists into .venv (once)" >&2
  install_with_uv || install_with_pip ||
    fail "the packages could not be installed; the reason is above." "Check that uv or pip reaches its package index, then run this again."
  stamp >"$venv/made-from"
fi
