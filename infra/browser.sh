#!/usr/bin/env bash
# Prints the path of the Chromium that tests of the live page drive, and installs Debian's if there is none.
# CHROMIUM names one to be used instead.
set -euo pipefail

find_browser() {
  local name
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && command -v "$name"; then
      return
    fi
  done
  return 1
}

find_browser && exit
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "browser: installing chromium with apt-get (once)" >&2
  { apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >/dev/null 2>&1 || true
  find_browser && exit
fi
printf '%s\n' "browser: there is no Chromium, and it could not be installed here: the live page cannot be tested." \
  "Install it (on Debian: apt-get install chromium), or name one in CHROMIUM." >&2
exit 1
