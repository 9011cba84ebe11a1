// Measures the inspector with many connections: npx tsx test/long/inspector.ts [connections=19900] [seconds=30]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
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

const given = process.argv[2] ?? ''
if (given === '--clients') await beClients(Number(process.argv[3]), Number(process.argv[4]))
else await measure(numberIn(given, 19_900), numberIn(process.argv[3] ?? '', 30))

function numberIn(text: string, otherwise: number): number {
  return Number(text.replace(/^\w+=/, '') || otherwise)
}

/** In a process of its own: opens connections from several addresses, and keeps them. */
async function beClients(port: number, count: number): Promise<void> {
  let opened = 0
  const open = (i: number): Promise<unknown> => {
    const localAddress = `127.0.0.${2 + (i % 4)}`
    const url = `ws://127.0.0.1:${port}/live?user=user-${i % 5_000}&room=room-${i % 500}`
    const socket = new WebSocket(url, { localAddress, perMessageDeflate: false })
    socket.on('message', () => {})
    return once(socket, 'open').then(
      () => opened++,
      (error: Error) => console.error(error.message),
    )
  }
  for (let i = 0; i < count; i += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - i) }, (_, k) => open(i + k)))
  }
  process.send?.({ opened })
  process.on('message', ({ search, seconds }: { search: object; seconds: number }) => {
    void look(port, search, seconds).then((seen) => process.send?.(seen))
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
  const server = createServer(app.callback())
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const child = fork(SELF, ['--clients', String(port), String(wanted)], {
    execArgv: ['--import=tsx'],
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
  if (wrong.length === 0 && opened >= 19_000 && seconds >= 30) keepResult('inspector', result)
  child.kill()
  process.exit(wrong.length > 0 || opened < Math.min(wanted, 19_000) ? 1 : 0)
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
