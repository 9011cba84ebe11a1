#!/usr/bin/env bash
# Run the suite with the oldest and the newest Koa and ws that are supported, in a copy of the project
# whose node_modules is made of hard links: the tests of what calls Koa or ws. The other tests depend on neither, or
# take long (heartbeat, signals, floods, slow consumers); `npm run coverage` runs them.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=(${VERSIONS:-koa@3.1.2,ws@8.21.1 koa@latest,ws@latest koa@2.16.4,ws@latest})
only=('test/{listener,upgrade,connection,middleware}/**/*.test.ts' test/http2/raw.test.ts test/messages/{authentication,handling,requests,streamed-request}.test.ts
  test/hub/{connections,error-place,instances,isolation,order,rooms,shutdown}.test.ts test/history/recovery.test.ts test/inspector/{inspector,service}.test.ts
  test/otel/instrument.test.ts test/testing/test-app.test.ts 'test/interop/{express,graphql-ws,yjs}.test.ts' 'test/{arguments,diagnostics,exports,tracer,undocumented,warn}.test.ts')
# These replace the list of .mocharc.json.
without=(--ignore 'test/**/support/**' --ignore 'test/**/*.d.ts' --ignore 'test/connection/{congestion,flood}.test.ts')
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
    node scripts/mocha.mjs --parallel --jobs "${JOBS:-4}" "${without[@]}" --reporter dot "$@" "${only[@]}"
  )
  rm -rf "$copy"
done
