#!/usr/bin/env node
// A load test for a WebSocket server: opens connections in steps, sends messages and times the answers.
// How to use it: docs/guides/load-testing.md, or `node load-test.mjs --help`.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'

const HELP = `node load-test.mjs [url] [options]           url: ws://127.0.0.1:3000/ by default

  --connections <n>  connections to open, 1 to 20,000                       (100)
  --step <n>         connections to open at the same time, 1 to 1,000       (50)
  --seconds <n>      how long to send messages, 0 to 600                    (10)
  --rate <n>         messages per second over all connections, 1 to 5,000   (50)
  --message <text>   {id} becomes an id that the answer has to contain      ("load test {id}")
  --protocol <name>  offers this subprotocol. With koaws.v1 {id} is the number of a request,
                     and its reply is the answer
  --header <line>    adds a header to each handshake: "Cookie: token=abc". May be repeated
  --patience <ms>    how long a handshake or an answer may take, 100 to 60,000  (10000)
  --remote           allows a server on another machine

Exits with 0 if each connection opened, stayed open and got its answers, otherwise with 1.`

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const KOAWS_V1 = 'koaws.v1'

const settings = readSettings()
/** Marks the ids of this run. */
const run = `${process.pid.toString(36)}${Date.now().toString(36)}`
const raw = new RegExp(`${run}-(\\d+)`)

const connections = new Set()
/** Errors, and how often each occurred. */
const failures = new Map()
/** Messages without an answer: number to connection and due time. */
const pending = new Map()
/** Milliseconds from due to answered. */
const echoes = []
let received = 0
let ending = false

const ownDelay = monitorEventLoopDelay({ resolution: 5 })
ownDelay.enable()
process.once('SIGINT', () => process.exit(1))

await openAll()
await sendAll()
ownDelay.disable()
await closeAll()
report()

async function openAll() {
  const { connections: total, step } = settings
  for (let tried = 0; tried < total; tried += step) {
    const began = performance.now()
    const opening = Array.from({ length: Math.min(step, total - tried) }, open)
    const times = (await Promise.all(opening)).filter((time) => time !== null)
    const rate = Math.round((times.length / (performance.now() - began)) * 1000)
    console.log(`open ${connections.size} of ${total}: ${rate} per second, ${percentiles(times)}`)
  }
}

/**
 * Opens a connection; ws answers the pings of the server. Resolves with its time, or null if it
 * failed.
 */
function open() {
  const { url, protocol, headers, patience } = settings
  const began = performance.now()
  const socket = new WebSocket(url, protocol ? [protocol] : [], {
    headers,
    perMessageDeflate: false,
  })
  return new Promise((resolve) => {
    let why
    const timer = setTimeout(() => {
      why = 'no handshake in time'
      socket.terminate()
    }, patience)
    const ready = () => {
      clearTimeout(timer)
      connections.add(socket)
      resolve(performance.now() - began)
    }
    // A server of koaws.v1 may reject with a close code: only its welcome says that it does not.
    if (protocol !== KOAWS_V1) socket.once('open', ready)
    socket.on('message', (data, isBinary) => {
      received++
      const text = isBinary ? '' : data.toString()
      if (!connections.has(socket) && text.includes('"koaws:welcome"')) ready()
      else hear(socket, text)
    })
    socket.on('error', (error) => {
      why ??= error.code ?? error.message
    })
    socket.on('close', (code) => {
      clearTimeout(timer)
      connections.delete(socket)
      if (!ending) fail(why ?? `closed with ${code}`)
      resolve(null)
    })
  })
}

/** Sends at a fixed rate, even if answers are late. */
async function sendAll() {
  const { seconds, rate, patience } = settings
  const total = connections.size > 0 ? Math.round(seconds * rate) : 0
  const began = performance.now()
  for (let number = 1; number <= total; number++) {
    const due = began + ((number - 1) / rate) * 1000
    if (due > performance.now()) await pause(due - performance.now())
    send(number, due)
  }
  const deadline = performance.now() + patience
  while (pending.size > 0 && performance.now() < deadline) await pause(20)
  for (const _ of pending) fail('no answer')
}

function send(number, due) {
  const [socket] = connections
  if (!socket) return fail('not sent: no connection is left')
  connections.delete(socket) // to the end of the queue
  connections.add(socket)
  pending.set(number, { socket, due })
  socket.send(messageOf(number))
}

function messageOf(number) {
  const { message, protocol } = settings
  return message.replaceAll('{id}', () => (protocol === KOAWS_V1 ? number : `${run}-${number}`))
}

function hear(socket, text) {
  const { number, error } = settings.protocol === KOAWS_V1 ? replyIn(text) : echoIn(text)
  const waiting = pending.get(number)
  if (waiting?.socket !== socket) return // messages of other connections
  pending.delete(number)
  if (error) fail(`answered with ${error}`)
  else echoes.push(performance.now() - waiting.due)
}

function echoIn(text) {
  return { number: Number(raw.exec(text)?.[1]) }
}

function replyIn(text) {
  if (!text.includes('"koaws:reply"') && !text.includes('"koaws:error"')) return {}
  const { id, type, error } = JSON.parse(text)
  return { number: id, error: type === 'koaws:error' ? error.code : undefined }
}

async function closeAll() {
  ending = true
  const open = [...connections]
  for (const socket of open) socket.close(1000)
  const deadline = performance.now() + 3000
  while (connections.size > 0 && performance.now() < deadline) await pause(20)
  for (const socket of connections) socket.terminate()
}

function report() {
  console.log(`answered ${echoes.length}: ${percentiles(echoes)}`)
  console.log(`received ${received} messages`)
  const delay = ms(ownDelay.percentile(99) / 1e6)
  console.log(`event loop of this program: p99 ${delay}`)
  for (const [what, count] of failures) console.log(`failed ${count}: ${what}`)
  if (failures.size === 0) console.log('failed 0')
  process.exitCode = failures.size > 0 ? 1 : 0
}

function fail(what) {
  failures.set(what, (failures.get(what) ?? 0) + 1)
}

function percentiles(times) {
  if (times.length === 0) return 'no times'
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part) => ms(sorted[Math.ceil(sorted.length * part) - 1])
  return `p50 ${at(0.5)}, p99 ${at(0.99)}`
}

function ms(time) {
  return `${time.toFixed(1)} ms`
}

function readSettings() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        connections: { type: 'string', default: '100' },
        step: { type: 'string', default: '50' },
        seconds: { type: 'string', default: '10' },
        rate: { type: 'string', default: '50' },
        message: { type: 'string', default: 'load test {id}' },
        protocol: { type: 'string' },
        header: { type: 'string', multiple: true, default: [] },
        patience: { type: 'string', default: '10000' },
        remote: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    if (values.help) {
      console.log(HELP)
      process.exit(0)
    }
    const url = new URL(positionals[0] ?? 'ws://127.0.0.1:3000/')
    if (!LOOPBACK.test(url.hostname) && !values.remote) {
      throw new Error(`${url.hostname} is not this machine. To load it all the same: --remote`)
    }
    if (!values.message.includes('{id}')) throw new Error('--message needs an {id}')
    if (values.protocol === KOAWS_V1) JSON.parse(values.message.replaceAll('{id}', '1'))
    return {
      ...values,
      url,
      headers: Object.fromEntries(values.header.map(headerOf)),
      connections: within('connections', values.connections, 1, 20_000),
      step: within('step', values.step, 1, 1_000),
      seconds: within('seconds', values.seconds, 0, 600),
      rate: within('rate', values.rate, 1, 5_000),
      patience: within('patience', values.patience, 100, 60_000),
    }
  } catch (error) {
    console.error(`${error.message}\n\n${HELP}`)
    return process.exit(2)
  }
}

function within(name, given, least, most) {
  const number = Number(given)
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw new Error(`--${name} is a whole number from ${least} to ${most}, not "${given}"`)
}

function headerOf(line) {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? []
  if (name === undefined) throw new Error(`--header is "Name: value", not "${line}"`)
  return [name, value]
}
