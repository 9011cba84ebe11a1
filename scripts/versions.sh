#!/usr/bin/env bash
# Run the suite with the oldest and the newest Koa and ws that are supported, in a copy of the project
# whose node_modules is made of hard links. Left out is what depends on neither: the tests that drive Chromium, the
# samples of the docs and of the reference, the command line, the client, what lies between instances, and the tests of heartbeat, signals, floods, slow consumers and hostile messages, which take long.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=(${VERSIONS:-koa@3.1.2,ws@8.21.1 koa@latest,ws@latest koa@2.16.4,ws@latest})
# These replace the list of .mocharc.json.
without=(--ignore 'test/**/support/**' --ignore 'test/peers/**' --ignore 'test/long/**' --ignore 'test/**/*.d.ts' --ignore 'test/examples/**' --ignore 'test/types/**'
  --ignore 'test/docs/{samples,reference}.test.ts' --ignore 'test/cli/**' --ignore 'test/asyncapi/**' --ignore test/interop/from-ws.test.ts --ignore 'test/adapters/**' --ignore 'test/backplane/**' --ignore 'test/deploys/**' --ignore test/hub/presence/online-users.test.ts
  --ignore test/hub/heartbeat.test.ts --ignore test/hub/signals.test.ts
  --ignore test/connection/flood.test.ts --ignore test/connection/congestion.test.ts --ignore 'test/client/**' --ignore test/testing/fake-server.test.ts --ignore test/protocol/serialized.test.ts --ignore test/protocol/python-vectors.test.ts
  --ignore test/protocol/client-vectors.test.ts --ignore 'test/{http2,inspector}/browser.test.ts' --ignore 'test/prometheus/**' --ignore 'test/metrics/**' --ignore test/messages/hostile.test.ts)
for pair in "${pairs[@]}"; do
  copy=$(mktemp -d "${TMPDIR:-/tmp}/koaws-versions.XXXXXX")
  trap 'rm -rf "$copy"' EXIT
  git ls-files -z | tar --null -cf - -T - | tar -xf - -C "$copy"
  cp -al node_modules "$copy/node_modules"
  # npm writes this one in place, through the link: it would no longer tell what is installed here.
  rm -f "$copy/node_modules/.package-lock.json"
  ln -s "$PWD/test/peers/node_modules" "$copy/test/peers/node_modules"
  (
    cd "$copy"
    npm install --no-save --no-audit --no-fund --silent --legacy-peer-deps ${pair//,/ }
    npm run build --silent
    echo "--- koa $(node -p 'require("koa/package.json").version'), ws $(node -p 'require("ws/package.json").version')"
    node scripts/mocha.mjs --parallel --jobs "${JOBS:-4}" "${without[@]}" --reporter dot "$@"
  )
  rm -rf "$copy"
done
