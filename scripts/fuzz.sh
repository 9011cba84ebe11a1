#!/usr/bin/env bash
# The fuzzes and models of test/long in a small form, each with a new seed that it prints. About a minute.
# One that fails does not hide the others: the status is 1 when any of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()
fuzz() {
  echo "--- $*"
  node --import=tsx "test/long/$1.ts" "${@:2}" || failed+=("$1")
}
fuzz order 5000
fuzz messages 20000
fuzz client 5000
fuzz http2-fuzz 5000
fuzz redis-fuzz 3000
[ ! -f test/long/backplane-model.ts ] || fuzz backplane-model --quick
fuzz recovery-model 5000
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
