#!/usr/bin/env bash
# What the tests need beyond `npm ci`: third-party Koa middleware from npm, and Chromium, nginx,
# HAProxy, Redis and Python's websockets from Debian. Installs what is missing; says in one line what it could not.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cmp -s test/peers/package-lock.json test/peers/node_modules/.koaws-lock.json; then
  npm ci --prefix test/peers --no-audit --no-fund --silent
  cp test/peers/package-lock.json test/peers/node_modules/.koaws-lock.json
fi

missing=()
command -v chromium >/dev/null || missing+=(chromium)
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing+=(nginx-light)
command -v redis-server >/dev/null || missing+=(redis-server)
[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || missing+=(haproxy)
/usr/bin/python3 -c 'import websockets' 2>/dev/null || python3 -c 'import websockets' 2>/dev/null ||
  missing+=(python3-websockets)
[ ${#missing[@]} -eq 0 ] && exit 0

give_up() {
  echo "npm test needs ${missing[*]}: on Debian run  apt-get install ${missing[*]}  as root, elsewhere put chromium, nginx, haproxy, redis-server and a python3 with the package websockets on the PATH." >&2
  exit 1
}
command -v apt-get >/dev/null || give_up
if [ "$(id -u)" -eq 0 ]; then run=(); elif sudo -n true 2>/dev/null; then run=(sudo -n); else give_up; fi
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq >/dev/null 2>&1 || true
"${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || give_up
