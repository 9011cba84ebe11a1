#!/usr/bin/env bash
# The packed package, installed in an empty folder, runs the README's server and loads in both module
# systems; its types compile with skipLibCheck off.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/koaws-tarball.XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
tarball=$(npm pack --silent --pack-destination "$work" | tail -n 1)
cd "$work"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund "./$tarball" koa@3 @types/koa@3 @types/node@20 typescript@7
awk '/^```js$/ { on = 1; next } /^```$/ { if (on) exit } on' "$root/README.md" > server.mjs
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
node -e 'const { koaWs } = require("koaws"); if (typeof koaWs !== "function") process.exit(1)'
cat > client.mjs <<'JS'
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
export PORT=$((20000 + RANDOM % 10000))
node server.mjs &
server=$!
node client.mjs
echo "the tarball's server answers 401 and echoes"
