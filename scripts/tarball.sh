#!/usr/bin/env bash
# The packed package, installed in an empty folder, runs the samples of its README and loads in both
# module systems; its types compile with skipLibCheck off, and its links lead to files of the package.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/koaws-tarball.XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
tarball=$(npm pack --silent --pack-destination "$work" | tail -n 1)
cd "$work"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund "./$tarball" koa@3 zod@4 ws@8 @types/koa@3 @types/node@20 typescript@7
node "$root/scripts/package-links.mjs" node_modules/koaws
if grep -E '^(test|bench)/|node_modules/' <(tar -tzf "./$tarball" | sed 's,^package/,,'); then
  echo "these files do not belong in the package" >&2
  exit 1
fi
node --input-type=module -e '
  import { readFileSync, writeFileSync } from "node:fs"
  const named = /^```\w+\n((?:\/\/|<!--) ([\w.]+).*?)^```$/gms
  for (const [, code, file] of readFileSync("node_modules/koaws/README.md", "utf8").matchAll(named))
    writeFileSync(file, code)'
cat > consumer.ts <<'TS'
import Koa from 'koa'
import koaWs, { accept, type Connection, messages, type StandardSchema } from 'koaws'
import { connect } from 'koaws/client'
import { clusterAdapter } from 'koaws/cluster'
import { redisAdapter, redisEmitter } from 'koaws/redis'
import { testApp } from 'koaws/testing'
declare const client: { duplicate(): unknown; publish(channel: string, message: Buffer): Promise<number> }
export const adapters = [redisAdapter({ client }), clusterAdapter({ name: 'x' })]
export const sent = redisEmitter({ client }).room('a').send('b')
const app = new Koa()
app.use(koaWs())
app.use(accept((connection: Connection) => connection.json({ hello: true })))
app.use((ctx) => { ctx.body = typeof ctx.ws })
declare const text: StandardSchema<string>
const chat = messages().on('say', text, (message) => message.data.length)
app.use(accept(chat))
export const test = testApp(app)
export const length: Promise<number> = connect<typeof chat>('ws://app/').request('say', 'hi')
TS
npx tsc --noEmit --strict --module nodenext --target es2023 --types node consumer.ts
node --input-type=module -e '
  import { readFileSync } from "node:fs"
  const url = import.meta.resolve("koaws/client")
  if (/(^|;)import\b/.test(readFileSync(new URL(url), "utf8"))) throw new Error("the client is more than one file")
  const { connect } = await import(url)
  connect("ws://127.0.0.1:9/", { WebSocket: class {} }).close()'
node -e '
  const koaWs = require("koaws")
  const { accept } = require("koaws")
  if (!koaWs().status().ready || typeof accept !== "function") process.exit(1)'
cat > first.mjs <<'JS'
import { WebSocket } from 'ws'
const url = `ws://127.0.0.1:${process.env.PORT}/lobby`
const deadline = Date.now() + 10_000
const attempt = () => {
  const refused = new WebSocket(url)
  refused.on('error', () => {
    if (Date.now() > deadline) process.exit(1)
  })
  refused.on('unexpected-response', (_req, res) => {
    if (res.statusCode !== 401) process.exit(1)
    const ann = new WebSocket(`${url}?name=ann`)
    ann.on('open', () => ann.send('hi'))
    ann.on('message', (data) => process.exit(String(data) === 'ann: hi' ? 0 : 1))
  })
  refused.on('close', () => setTimeout(attempt, 100))
}
attempt()
JS
cat > second.mjs <<'JS'
const url = `http://127.0.0.1:${process.env.PORT}`
const deadline = Date.now() + 10_000
let page
while (!page) {
  page = await fetch(url).catch(() => null)
  if (!page && Date.now() > deadline) process.exit(1)
  await new Promise((resolve) => setTimeout(resolve, 100))
}
const script = await fetch(url + (await page.text()).match(/from '(.*?)'/)[1])
if (!/javascript/.test(script.headers.get('content-type'))) process.exit(1)
const { connect } = await import(`data:text/javascript,${encodeURIComponent(await script.text())}`)
if (typeof connect !== 'function') process.exit(1)
JS
# Runs a server of the README beside programs that talk to it.
beside() {
  export PORT=$((20000 + RANDOM % 10000))
  node "$1" &
  server=$!
  shift
  for program; do node "$program"; done
  kill "$server" && wait "$server"
  server=
}
beside server.mjs first.mjs
echo "the first sample of the README answers 401 and echoes"
beside chat.mjs second.mjs client.mjs > output
printf 'said: hi\n{ heard: 1 }\n' | diff - output
echo "the second sample of the README serves its page, and its client gets its reply"
if [ "$(node -p 'typeof WebSocket')" = undefined ]; then
  if node --input-type=module -e 'import("koaws/client").then(({ connect }) => connect("ws://127.0.0.1:9/"))' 2> error; then
    echo "the client has found a WebSocket" >&2
    exit 1
  fi
  grep "Pass { WebSocket } from 'ws'" error
  [ "$(wc -c < error)" -lt 2000 ]
fi
# The program of the package: its help, and a server that is down.
npx koaws --help | grep -q doctor
code=0
npx koaws doctor ws://127.0.0.1:9/ --json > doctor.json || code=$?
[ "$code" = 1 ] && grep -q '"id": "connect-failed"' doctor.json
echo "npx koaws doctor says that the server is down"
