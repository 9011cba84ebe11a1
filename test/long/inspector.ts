// Measures the inspector with many connections: npx tsx test/long/inspector.ts [connections=19900] [seconds=30] [--http2]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Koa from 'koa'
import { WebSocket } from 'ws'
import koaWs, { accept, type Connection, type Hub } from '../../lib/index.ts'
import { inspector } from '../../lib/inspector/index.ts'
import { Scans } from '../../lib/inspector/scans.ts'
import { pageVisitor, readSearch } from '../../lib/inspector/search.ts'
import { keepResult } from './support/results.ts'

const SELF = fileURLToPath(import.meta.url)
/** The share of a core, and the bytes per second, that an open list may cost. */
const MOST_CPU = 0.01
const MOST_BYTES = 50_000
/** How often the page asks for the list, and for the overview, in milliseconds. */
const LIST = 5_000
const OVERVIEW = 1_000

interface Seen {
  readonly bytesPerSecond: number
  readonly answers: number
}

interface Outcome extends Seen {
  readonly search: object
  readonly cpu: number
}

/** The WebSockets of one HTTP/2 session. */
const PER_SESSION = 100

const isHttp2 = process.argv.includes('--http2')
const [given = '', ...rest] = process.argv.slice(2).filter((one) => one !== '--http2')
if (given === '--clients') {
  const [port = 0, pagePort = 0, count = 0] = rest.map(Number)
  await beClients(port, pagePort, count)
} else {
  await measure(numberIn(given, isHttp2 ? 100_000 : 19_900), numberIn(rest[0] ?? '', 30))
}

function numberIn(text: string, otherwise: number): number {
  return Number(text.replace(/^\w+=/, '') || otherwise)
}

/** In a process of its own: opens connections from several addresses, and keeps them. */
async function beClients(port: number, pagePort: number, count: number): Promise<void> {
  let opened = 0
  for (let i = 0; i < count; i += PER_SESSION) {
    const paths = Array.from(
      { length: Math.min(PER_SESSION, count - i) },
      (_, k) => `/live?user=user-${(i + k) % 5_000}&room=room-${(i + k) % 500}`,
    )
    const opening = isHttp2 ? await openSession(port, paths) : openSockets(port, paths)
    const results = await Promise.allSettled(opening)
    opened += results.filter(({ status }) => status === 'fulfilled').length
    for (const one of results) if (one.status === 'rejected') console.error(one.reason)
  }
  process.send?.({ opened })
  process.on('message', ({ search, seconds }: { search: object; seconds: number }) => {
    void look(pagePort, search, seconds).then((seen) => process.send?.(seen))
  })
}

/** Opens each WebSocket over a TCP connection of its own. */
function openSockets(port: number, paths: readonly string[]): Promise<unknown>[] {
  return paths.map((path, i) => {
    const localAddress = `127.0.0.${2 + (i % 4)}`
    const url = `ws://127.0.0.1:${port}${path}`
    const socket = new WebSocket(url, { localAddress, perMessageDeflate: false })
    socket.on('message', () => {})
    return once(socket, 'open')
  })
}

/** Opens the WebSockets over one HTTP/2 session, which needs one file descriptor. */
async function openSession(port: number, paths: readonly string[]): Promise<Promise<unknown>[]> {
  const session = connect(`http://127.0.0.1:${port}`)
  await once(session, 'remoteSettings')
  return paths.map(async (path) => {
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': path,
      'sec-websocket-version': '13',
    })
    stream.resume()
    const [headers] = (await once(stream, 'response')) as [{ ':status'?: number }]
    if (headers[':status'] !== 200) throw new Error(`${path}: ${headers[':status']}`)
  })
}

/** Behaves as the page does while its list is open. */
async function look(port: number, search: object, seconds: number): Promise<object> {
  const page = new WebSocket(`ws://127.0.0.1:${port}/inspector/socket`, 'koaws.v1')
  await once(page, 'message')
  const since: Record<string, number> = {}
  let [bytes, answers, id] = [0, 0, 0]
  page.on('message', (message: Buffer) => {
    bytes += message.length
    answers++
    for (const { instance, samples } of JSON.parse(String(message)).data.instances ?? []) {
      since[instance] = samples.at(-1)?.n ?? since[instance]
    }
  })
  const ask = (type: string, data: object): void =>
    page.send(JSON.stringify({ type, id: ++id, data }))
  const timers = [
    setInterval(() => ask('connections', search), LIST),
    setInterval(() => ask('overview', { since }), OVERVIEW),
  ]
  await wait(seconds * 1_000)
  for (const timer of timers) clearInterval(timer)
  page.close()
  return { bytesPerSecond: Math.round(bytes / seconds), answers }
}

async function measure(wanted: number, seconds: number): Promise<void> {
  const app = new Koa()
  const hub = koaWs({ user: (ctx) => String(ctx.query['user']), heartbeat: false })
  app.use(hub)
  app.use(inspector(hub, { app }))
  app.use(
    hub.route(
      '/live',
      accept((connection) => connection.join(String(connection.query['room']))),
    ),
  )
  const listen = async (
    server: ReturnType<typeof createServer> | ReturnType<typeof createHttp2Server>,
  ): Promise<number> => {
    hub.attach(server)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 })
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const pagePort = await listen(createServer(app.callback()))
  const port = isHttp2 ? await listen(createHttp2Server(app.callback())) : pagePort
  const numbers = [port, pagePort, wanted].map(String)
  const child = fork(SELF, ['--clients', ...numbers, ...(isHttp2 ? ['--http2'] : [])], {
    execArgv: ['--import=tsx', '--max-old-space-size=8192'],
  })
  const [{ opened }] = (await once(child, 'message')) as [{ opened: number }]
  console.error(`${opened} connections`)
  await wait(3_000)

  const before = await cpuOf(() => wait(seconds * 1_000))
  const measured = async (search: object): Promise<Outcome> => {
    let seen: Seen = { bytesPerSecond: 0, answers: 0 }
    const busy = await cpuOf(async () => {
      child.send({ search, seconds })
      ;[seen] = (await once(child, 'message')) as [Seen]
    })
    return { search, cpu: round(busy), ...seen }
  }
  // The first search runs code that is not compiled yet, over connections that are new in the heap.
  const first = await measured({ sort: 'age', descending: false })
  const outcomes: Outcome[] = []
  for (const search of [
    { sort: 'age', descending: false },
    { sort: 'bytes' },
    { field: 'any', text: 'user-77', sort: 'rtt' },
  ]) {
    outcomes.push(await measured(search))
  }
  const after = await cpuOf(() => wait(seconds * 1_000))
  const idle = (before + after) / 2
  const scan = await scanOf(hub, 100_000)
  const wrong = outcomes.filter(
    ({ cpu, bytesPerSecond, answers }) =>
      cpu - idle > MOST_CPU || bytesPerSecond > MOST_BYTES || answers < seconds,
  )
  const result = { connections: opened, seconds, idleCpu: round(idle), first, outcomes, scan }
  console.log(JSON.stringify(result, null, 2))
  for (const one of wrong) console.log(`too much: ${JSON.stringify(one)}`)
  const least = isHttp2 ? 99_000 : 19_000
  const isFull = opened >= least && seconds >= 30
  if (wrong.length === 0 && isFull) keepResult(isHttp2 ? 'inspector-http2' : 'inspector', result)
  child.kill()
  process.exit(wrong.length > 0 || opened < Math.min(wanted, least) ? 1 : 0)
}

/** Measures a search of so many connections: each of the real ones comes several times. */
async function scanOf(hub: Hub, count: number): Promise<object> {
  const real = [...hub.localConnections.values()]
  const many = new Map<string, Connection>()
  for (let i = 0; i < count; i++) many.set(String(i), real[i % real.length] as Connection)
  const scans = new Scans({ localConnections: many })
  const times: number[] = []
  for (const sort of ['age', 'bytes', 'queue', 'rtt']) {
    const share = await cpuOf(async () => {
      const began = performance.now()
      await scans.run(sort, () => pageVisitor(readSearch({ sort, descending: false })))
      times.push(Math.round(performance.now() - began))
    })
    times[times.length - 1] = Math.round((times.at(-1) ?? 0) * Math.min(1, share))
  }
  return { count, milliseconds: Math.max(...times), times }
}

/** Returns the share of a core that this process takes meanwhile. */
async function cpuOf(during: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  const before = process.cpuUsage()
  await during()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000 / (performance.now() - began)
}

function round(share: number): number {
  return Math.round(share * 10_000) / 10_000
}

function wait(milliseconds: number): Promise<unknown> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
