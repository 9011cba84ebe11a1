/**
 * One form of routing.mjs, in its own process: `routing-worker.mjs <form> <size>`. It opens real
 * connections of a real app over in-memory sockets. Then `send` of each is replaced by a counter,
 * and messages are emitted as ws emits them. So no frame is read or written: the figure is the
 * delivery of a connection, and its listener.
 */
import assert from 'node:assert/strict'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, messages } from '../../dist/index.js'
import { testApp } from '../../dist/testing/index.js'
import { schemas, sizes } from './routing-schemas.mjs'

const CONNECTIONS = 50
const RING = 64
const [form, size, samples, perSample] = process.argv.slice(2)

const served = []
let sent = 0
let last

function sink(text) {
  sent++
  last = text
}

function emptyListener() {}

function parseOnly(received) {
  last = JSON.parse(received.toString())
}

/** The smallest handler that answers. The cost of a routed message beyond it is the routing. */
function parseAndReply(received) {
  const { id, data } = JSON.parse(received.toString())
  this.send(`{"type":"koaws:reply","id":${id},"data":${JSON.stringify(data)}}`)
}

const echo = (message) => message.data
const asyncEcho = async (message) => message.data
const middleware = async (_message, next) => {
  await next()
}

const listener = (onMessage) => (connection) => {
  served.push(connection)
  connection.on('message', onMessage)
}

function routed(handler, schema, layers = 0) {
  const routes = messages().onOpen((connection) => {
    served.push(connection)
  })
  for (let i = 0; i < layers; i++) routes.use(middleware)
  return schema ? routes.on('echo', schema, handler) : routes.on('echo', handler)
}

const forms = {
  delivery: { make: () => listener(emptyListener), silent: true },
  parse: { make: () => listener(parseOnly), silent: true },
  'parse and reply': { make: () => listener(parseAndReply) },
  routed: { make: () => routed(echo), speaks: true },
  'routed, async handler': { make: () => routed(asyncEcho), speaks: true },
  'routed, 1 middleware': { make: () => routed(echo, undefined, 1), speaks: true },
  'routed, 3 middleware': { make: () => routed(echo, undefined, 3), speaks: true },
  'routed, zod': { make: () => routed(echo, schemas.zod[size]), speaks: true },
  'routed, valibot': { make: () => routed(echo, schemas.valibot[size]), speaks: true },
  'routed, arktype': { make: () => routed(echo, schemas.arktype[size]), speaks: true },
}

function texts() {
  const { bytes, data, pad } = sizes[size]
  return Array.from({ length: RING }, (_, i) => {
    const envelope = { type: 'echo', id: 1000 + i, data: data(i) }
    const missing = bytes - JSON.stringify(envelope).length
    envelope.data = pad(envelope.data, '.'.repeat(missing))
    return {
      request: Buffer.from(JSON.stringify(envelope)),
      reply: JSON.stringify({ type: 'koaws:reply', id: envelope.id, data: envelope.data }),
    }
  })
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** One message on every connection in each turn of the event loop. */
async function run(count, ring) {
  for (let done = 0; done < count; done += CONNECTIONS) {
    for (let i = 0; i < CONNECTIONS; i++) {
      served[i].emit('message', ring[(done + i) % RING].request, false)
    }
    await turn()
  }
}

async function check(ring, silent) {
  for (const connection of served) {
    for (const { request, reply } of ring) {
      connection.emit('message', request, false)
      await turn()
      if (!silent) assert.equal(last, reply)
    }
  }
  assert.equal(sent, silent ? 0 : CONNECTIONS * RING)
}

const { make, silent = false, speaks = false } = forms[form]
const app = new Koa()
const hub = koaWs({ flood: false, heartbeat: false })
app.use(hub)
app.use(new Router().get('/echo', accept(make())).routes())
const test = testApp(app)
for (let i = 0; i < CONNECTIONS; i++) {
  await test.connect('/echo', speaks ? { protocols: ['koaws.v1'] } : {})
}
assert.equal(served.length, CONNECTIONS)
await turn()
for (const connection of served) connection.send = sink

const ring = texts()
await check(ring, silent)
await run(Number(perSample), ring)
const windows = []
for (let i = 0; i < samples; i++) {
  const from = process.cpuUsage()
  await run(Number(perSample), ring)
  const { user, system } = process.cpuUsage(from)
  windows.push(((user + system) * 1000) / perSample)
}
process.stdout.write(`${JSON.stringify(windows)}\n`)
process.exit(0)
