/**
 * Opens and closes many connections, and checks that no resource of them is left.
 *
 *     npx tsx test/long/churn.ts [connections=500000] [joins=1000000]
 *
 * The JSON of the result goes to stdout, all else to stderr. Exits with 1 when a figure has not returned
 * to its start. See README.md.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Connection, Hub } from '../../lib/index.ts'
import { heapAfterGc } from './support/heap.ts'
import { keepResult } from './support/results.ts'

const SELF = fileURLToPath(import.meta.url)

const WARM_UP = 2_000
/** The number of connections that are open at a time. */
const OPEN_AT_A_TIME = 500
const ROOMS = 10_000
/** The upper limit of bytes left per connection. */
const MOST_LEFT = 100
/** The usual variation of a heap, in bytes. In a short run it hides MOST_LEFT. */
const NOISE = 1024 * 1024
/** How long ended connections may take to be released, in milliseconds. */
const PATIENCE = 20_000

/** The ways in which a client leaves. */
type Kind = 'close' | 'reset' | 'early' | 'silent'

// ---- the clients, in a separate process

/** 10 % become silent, 5 % reset before the answer, 35 % reset after it, 50 % close cleanly. */
function kindOf(i: number): Kind {
  const place = i % 20
  if (place < 2) return 'silent'
  if (place < 3) return 'early'
  return place < 10 ? 'reset' : 'close'
}

const masked = (opcode: number, payload: Buffer | string): Buffer => {
  const data = Buffer.from(payload)
  const head = Buffer.from([0x80 | opcode, 0x80 | data.length, 1, 2, 3, 4])
  for (let i = 0; i < data.length; i++)
    data[i] = (data[i] as number) ^ (head[2 + (i % 4)] as number)
  return Buffer.concat([head, data])
}

const HELLO = masked(1, 'hello')
const CLOSE = masked(8, Buffer.from([0x03, 0xe8]))

/** A raw client without timers, which sends only the bytes that its kind needs. */
class Visitor {
  readonly socket: Socket
  readonly #kind: Kind | 'stay'
  #rest: Buffer = Buffer.alloc(0)
  #open = false
  #echoes = 0
  #closing = false

  constructor(port: number, i: number, kind: Kind | 'stay', gone: () => void) {
    this.#kind = kind
    // Many addresses, because a pair of ports stays in TIME_WAIT for a minute after the server has
    // closed it.
    const localAddress = `127.0.${1 + (i % 4)}.${1 + (i % 8)}`
    this.socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true })
    this.socket.on('connect', () => this.#greet(i))
    this.socket.on('data', (chunk) => this.#read(chunk))
    this.socket.on('error', () => {})
    this.socket.on('close', gone)
  }

  /** Leaves with a close frame or a reset. */
  leave(clean: boolean): void {
    if (clean && this.#open) this.#close()
    else this.socket.resetAndDestroy()
  }

  #greet(i: number): void {
    this.socket.write(
      `GET /?user=${i % 5_000} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n` +
        'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
        'Sec-WebSocket-Version: 13\r\n\r\n',
    )
    // The bytes leave before the reset.
    if (this.#kind === 'early') setImmediate(() => this.socket.resetAndDestroy())
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    if (!this.#open) {
      const end = this.#rest.indexOf('\r\n\r\n')
      if (end < 0) return
      if (!this.#rest.toString('latin1', 0, 12).endsWith(' 101')) {
        throw new Error(`not accepted: ${this.#rest.toString('latin1', 0, 200)}`)
      }
      this.#rest = this.#rest.subarray(end + 4)
      this.#open = true
      if (this.#kind !== 'stay') this.socket.write(HELLO)
    }
    while (this.#rest.length >= 2) {
      const opcode = (this.#rest[0] as number) & 0x0f
      const short = this.#rest[1] as number
      if (short > 125) throw new Error('a longer frame than the server sends')
      if (this.#rest.length < 2 + short) return
      const payload = this.#rest.subarray(2, 2 + short)
      this.#rest = this.#rest.subarray(2 + short)
      this.#hear(opcode, payload)
    }
  }

  #hear(opcode: number, payload: Buffer): void {
    if (this.#kind === 'silent') return
    if (opcode === 9) this.socket.write(masked(10, payload))
    else if (opcode === 8) {
      if (!this.#closing) this.socket.write(masked(8, payload))
    } else if (payload.toString('latin1') === 'hello') this.#echoed()
  }

  #echoed(): void {
    if (this.#kind === 'reset') this.socket.resetAndDestroy()
    else if (++this.#echoes < 3) this.socket.write(HELLO)
    else this.#close()
  }

  #close(): void {
    this.#closing = true
    this.socket.write(CLOSE)
  }
}

type Order =
  | { type: 'visit'; count: number }
  | { type: 'hold'; count: number }
  | { type: 'release' }
  | { type: 'end' }

function clients(port: number): void {
  const held = new Set<Visitor>()
  let holding = false
  let started = 0
  const tell = (message: object): void => void process.send?.(message)

  const visit = (count: number): void => {
    const kinds: Record<Kind, number> = { close: 0, reset: 0, early: 0, silent: 0 }
    let open = 0
    let left = count
    let told = Date.now()
    const next = (): void => {
      while (left > 0 && open < OPEN_AT_A_TIME) {
        left--
        open++
        const kind = kindOf(started)
        kinds[kind]++
        new Visitor(port, started++, kind, () => {
          open--
          if (Date.now() - told > 10_000) {
            told = Date.now()
            tell({ type: 'progress', left })
          }
          if (left === 0 && open === 0) tell({ type: 'done', kinds })
          else next()
        })
      }
    }
    next()
  }

  const hold = (count: number): void => {
    holding = true
    const one = (): void => {
      const visitor = new Visitor(port, started++, 'stay', () => {
        held.delete(visitor)
        if (holding) one()
        else if (held.size === 0) tell({ type: 'done' })
      })
      held.add(visitor)
    }
    for (let i = 0; i < count; i++) one()
  }

  // Ends with the server.
  process.on('disconnect', () => process.exit(0))
  process.on('message', (order: Order) => {
    if (order.type === 'visit') visit(order.count)
    else if (order.type === 'hold') hold(order.count)
    else if (order.type === 'end') process.disconnect()
    else {
      holding = false
      let clean = false
      for (const visitor of held) visitor.leave((clean = !clean))
    }
  })
}

// ---- the server

/**
 * Counts the live timers, including those of koaws and ws, which Node leaves out because they are
 * unref'd.
 */
function countTimers(): () => number {
  const live = new Set<unknown>()
  const { setTimeout: timeout, setInterval: interval, clearTimeout: clear } = globalThis
  const wrapped = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    const timer = timeout(() => {
      live.delete(timer)
      callback(...args)
    }, ms)
    live.add(timer)
    return timer
  }
  const wrappedInterval = (
    callback: (...args: unknown[]) => void,
    ms?: number,
    ...args: unknown[]
  ) => {
    const timer = interval(callback, ms, ...args)
    live.add(timer)
    return timer
  }
  const cleared = (timer: unknown): void => {
    live.delete(timer)
    clear(timer as never)
  }
  Object.assign(globalThis, {
    setTimeout: wrapped,
    setInterval: wrappedInterval,
    clearTimeout: cleared,
    clearInterval: cleared,
  })
  return () => live.size
}

interface Figures {
  heap: number
  rss: number
  timers: number
  descriptors: number
  resources: string
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function resources(): string {
  const counts = new Map<string, number>()
  for (const name of process.getActiveResourcesInfo()) {
    // Leaves out the pauses of this program.
    if (name !== 'Timeout' && name !== 'Immediate') counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const parts = [...counts].map(([name, many]) => `${name} ${many}`)
  return parts.sort().join(', ')
}

async function figures(timers: () => number): Promise<Figures> {
  const heap = await heapAfterGc()
  return {
    heap,
    rss: process.memoryUsage.rss(),
    timers: timers(),
    descriptors: readdirSync('/proc/self/fd').length,
    resources: resources(),
  }
}

async function until(condition: () => boolean): Promise<boolean> {
  const end = Date.now() + PATIENCE
  while (!condition()) {
    if (Date.now() > end) return false
    await pause(20)
  }
  return true
}

function log(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Sends an order to the clients, and resolves when they have carried it out. */
function order(child: ChildProcess, message: Order): Promise<{ kinds?: Record<Kind, number> }> {
  child.send(message)
  return new Promise((resolve) => {
    const hear = (answer: { type: string; left: number; kinds: Record<Kind, number> }): void => {
      if (answer.type === 'done') {
        child.off('message', hear)
        resolve(answer)
      } else log(`  ${answer.left} to come`)
    }
    child.on('message', hear)
  })
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T
}

const roomName = (): string => `room ${Math.floor(Math.random() * ROOMS)}`

/** Checks that the rooms of all connections are the rooms that the hub knows. */
function assertRooms(hub: Hub): void {
  const rooms = new Set<string>()
  for (const connection of hub.localConnections.values()) {
    for (const room of connection.rooms) rooms.add(room)
  }
  const { rooms: known } = hub.status()
  if (known !== rooms.size) throw new Error(`the hub knows ${known} rooms of ${rooms.size}`)
}

/** Joins rooms many times, with leaves, closes and messages in between. */
async function joinMany(hub: Hub, child: ChildProcess, joins: number): Promise<void> {
  child.send({ type: 'hold', count: OPEN_AT_A_TIME } satisfies Order)
  let done = 0
  let told = Date.now()
  while (done < joins) {
    await turn()
    const connections: Connection[] = [...hub.localConnections.values()]
    if (connections.length < OPEN_AT_A_TIME / 2) continue
    for (let i = 0; i < 1_000; i++) {
      const connection = pick(connections)
      if (connection.readyState !== connection.OPEN) continue
      const many = 1 + Math.floor(Math.random() * 3)
      const { rooms } = connection
      if (rooms.size + many > 128) connection.leave(...[...rooms].slice(0, 64))
      connection.join(...Array.from({ length: many }, roomName))
      done += many
      if (Math.random() < 0.4) connection.leave(pick([...rooms]), roomName())
      if (i % 100 === 0) hub.room(roomName(), roomName()).send('news')
    }
    for (let i = 0; i < 5; i++) {
      const connection = pick(connections)
      if (i % 2 === 0) connection.close(1000)
      else connection.terminate()
    }
    if (Math.random() < 0.01) hub.room(roomName()).close(1000)
    assertRooms(hub)
    if (Date.now() - told > 10_000) {
      told = Date.now()
      log(`  ${joins - done} joins to come`)
    }
  }
  await order(child, { type: 'release' })
}

async function run(connections: number, joins: number): Promise<boolean> {
  const timers = countTimers()
  // Imported after the timers are counted, so that all of them are.
  const { default: Koa } = await import('koa')
  const { default: koaWs, accept } = await import('../../lib/index.ts')

  let accepted = 0
  let ended = 0
  let clean = 0
  let mostTimers = 0
  const app = new Koa()
  const unexpected: string[] = []
  app.on('error', (error: Error & { code?: string }) => {
    // From clients that reset before the answer.
    if (error.code !== 'ERR_KOAWS_CLIENT_GONE') unexpected.push(String(error))
  })
  const hub = koaWs({
    heartbeat: { interval: 1_000, timeout: 500 },
    user: (ctx) => ctx.query['user'] as string,
    onDisconnect: (_connection, info) => {
      ended++
      if (info.clean) clean++
    },
  })
  app.use(hub)
  app.use(
    accept((connection) => {
      accepted++
      connection.join(`few ${accepted % 100}`, `many ${accepted % 3_000}`, connection.id)
      connection.on('message', (data, isBinary) =>
        connection.send(data as Buffer, { binary: isBinary }),
      )
    }),
  )
  const server = createServer(app.callback())
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const child = fork(SELF, ['--clients', String(port)], { execArgv: ['--import=tsx'] })
  child.on('exit', (code) => {
    if (code !== 0) {
      log(`the clients ended with ${code}`)
      process.exit(1)
    }
  })

  const settled = (): Promise<boolean> =>
    until(() => hub.localConnections.size === 0 && hub.status().pending === 0 && timers() <= 1)
  const visits = async (count: number): Promise<Record<Kind, number>> => {
    const talk = setInterval(() => {
      hub.room(`few ${accepted % 100}`).send('news')
      mostTimers = Math.max(mostTimers, timers())
    }, 20)
    const { kinds } = await order(child, { type: 'visit', count })
    clearInterval(talk)
    return kinds as Record<Kind, number>
  }

  log(`warm-up: ${WARM_UP} connections`)
  await visits(WARM_UP)
  await joinMany(hub, child, 20_000)
  await settled()
  await pause(1_000)
  const before = await figures(timers)
  accepted = ended = clean = 0
  const silentBefore = hub.status().drops['heartbeat'] ?? 0

  log(`A: ${connections} connections, ${OPEN_AT_A_TIME} at a time`)
  let since = performance.now()
  const kinds = await visits(connections)
  const secondsA = (performance.now() - since) / 1000
  await settled()
  const silent = (hub.status().drops['heartbeat'] ?? 0) - silentBefore
  const [acceptedA, cleanA] = [accepted, clean]

  log(`B: ${joins} joins in ${ROOMS} rooms`)
  since = performance.now()
  await joinMany(hub, child, joins)
  const secondsB = (performance.now() - since) / 1000

  await settled()
  await until(() => resources() === before.resources)
  await until(() => readdirSync('/proc/self/fd').length <= before.descriptors)
  await pause(1_000)
  const after = await figures(timers)
  const status = hub.status()
  const left = (after.heap - before.heap) / Math.max(1, accepted)
  const heapIsBack = left < MOST_LEFT || after.heap - before.heap < NOISE

  const checks: [what: string, before: unknown, after: unknown, ok: boolean][] = [
    ['connections', 0, status.connections, status.connections === 0],
    ['localConnections', 0, hub.localConnections.size, hub.localConnections.size === 0],
    ['rooms', 0, status.rooms, status.rooms === 0],
    ['users', 0, status.users, status.users === 0],
    ['pending upgrades', 0, status.pending, status.pending === 0],
    ['ended', accepted, ended, ended === accepted],
    ['clean closes in A', kinds.close, cleanA, cleanA >= kinds.close * 0.999],
    ['found silent in A', kinds.silent, silent, silent >= kinds.silent],
    ['unexpected errors', 0, unexpected.length, unexpected.length === 0],
    ['most timers in A', '> 2', mostTimers, mostTimers > 2],
    ['timers', before.timers, after.timers, after.timers <= before.timers],
    ['descriptors', before.descriptors, after.descriptors, after.descriptors <= before.descriptors],
    ['active resources', before.resources, after.resources, after.resources === before.resources],
    ['heap, bytes', before.heap, after.heap, heapIsBack],
    ['heap, bytes per connection', `< ${MOST_LEFT}`, left.toFixed(1), heapIsBack],
    ['rss, MiB', Math.round(before.rss / 2 ** 20), Math.round(after.rss / 2 ** 20), true],
  ]
  const ok = checks.every(([, , , good]) => good)
  log('')
  for (const [what, first, last, good] of checks) {
    log(
      `${what.padEnd(28)}${String(first).padStart(14)}  ${String(last).padStart(14)}  ${good ? 'ok' : 'NOT BACK'}`,
    )
  }
  if (unexpected.length > 0) log(`errors: ${[...new Set(unexpected)].slice(0, 5).join('\n')}`)
  const result = {
    ok,
    connections,
    accepted: acceptedA,
    kinds,
    joins,
    seconds: { connections: Math.round(secondsA), joins: Math.round(secondsB) },
    left: Number(left.toFixed(1)),
    drops: status.drops,
    figures: Object.fromEntries(checks.map(([what, first, last]) => [what, [first, last]])),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  if (ok && connections >= 500_000) keepResult('churn', result)
  child.send({ type: 'end' } satisfies Order)
  await once(child, 'exit')
  await hub.close()
  server.close()
  return ok
}

const [first = '500000', second = '1000000'] = process.argv.slice(2)
if (first === '--clients') clients(Number(second))
else if (typeof gc !== 'function') {
  const args = ['--expose-gc', '--import=tsx', SELF, first, second]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  process.exitCode = code ?? 1
} else {
  process.exitCode = (await run(Number(first), Number(second))) ? 0 : 1
}
