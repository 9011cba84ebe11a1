/** The server of recovery-drops.ts, in a process of its own: it publishes numbered messages in each room. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import Koa from 'koa'
import { createClient } from 'redis'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import koaWs, { accept, messages } from '../../../lib/index.ts'
import { serve } from './child.ts'

/** What the server found out about itself. */
export interface ServerReport {
  /** The number of messages of each room. */
  readonly published: readonly number[]
  /** The use of one core while it published. */
  readonly cpu: number
  /** The largest memory of the process, in bytes. */
  readonly rss: number
  /** The delay of the event loop, in milliseconds. */
  readonly loop: { readonly p99: number; readonly max: number }
  /** Counters of koaws that are not 0. */
  readonly drops: Record<string, number>
  /** Errors, the first ones. */
  readonly errors: readonly string[]
}

export interface PublishGiven {
  readonly rooms: number
  /** Messages per second in each room. */
  readonly perSecond: number
  /** How many of them are published in one turn. */
  readonly atOnce: number
}

interface Room {
  readonly http: Server
  publish(room: string, data: object): void
  drops(): Record<string, number>
}

/**
 * What is kept lasts longer than the run: on a slow machine, clients may be away for minutes. The peer keeps as much,
 * in one stream.
 */
const KEPT = 20_000
const TTL = 1_800_000
const ROOMS = 10
const nameOf = (room: number): string => `room:${room}`
/** Messages are due in steps of this many milliseconds. */
const STEP = 5

let rooms: Room
let timer: NodeJS.Timeout
let sampler: NodeJS.Timeout
let rss = 0
let usage = process.cpuUsage()
let since = 0
const published: number[] = []
const errors: string[] = []
const loop = monitorEventLoopDelay({ resolution: 5 })

/** @param history whether the rooms have one; without it every gap is a silent loss */
function koaws(redis: number | null, history: boolean): Room {
  const app = new Koa()
  app.on('error', (error) => note(error))
  const hub = koaWs({
    user: (ctx) => String(ctx.query['user']),
    ...(history && { history: { rooms: 'room:*', messages: KEPT, bytes: 2 ** 23, ttl: TTL } }),
    ...(redis && {
      adapter: redisAdapter({
        client: createClient({ socket: { host: '127.0.0.1', port: redis } }),
      }),
    }),
  })
  const chat = messages().onOpen(async (connection, ctx) => {
    await connection.join(nameOf(Number(ctx.query['room'])))
    connection.push('joined')
  })
  app.use(hub)
  app.use(accept(chat))
  const http = createServer(app.callback())
  hub.attach(http)
  return {
    http,
    publish: (room, data) => void hub.room(room).push('m', data),
    drops: () => ({ ...hub.status().drops }) as never,
  }
}

// The packages of the benchmarks, which come without types here.
const bench = createRequire(new URL('../../../bench/package.json', import.meta.url))

interface Io {
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(type: string, data: unknown): boolean }
}
interface IoSocket {
  readonly recovered: boolean
  readonly handshake: { readonly query: Record<string, string> }
  join(room: string): unknown
  emit(type: string): void
}

async function socketIo(redis: number | null): Promise<Room> {
  const options: Record<string, unknown> = {
    transports: ['websocket'],
    serveClient: false,
    connectionStateRecovery: { maxDisconnectionDuration: TTL },
  }
  if (redis) {
    const client = bench('redis').createClient({ socket: { host: '127.0.0.1', port: redis } })
    client.on('error', note)
    await client.connect()
    options['adapter'] = bench('@socket.io/redis-streams-adapter').createAdapter(client, {
      maxLen: KEPT * ROOMS,
    })
  }
  const http = createServer()
  const io: Io = new (bench('socket.io').Server)(http, options)
  io.on('connection', async (socket) => {
    if (!socket.recovered) await socket.join(nameOf(Number(socket.handshake.query['room'])))
    socket.emit('joined')
  })
  return {
    http,
    publish: (room, data) => void io.to(room).emit('m', data),
    drops: () => ({}),
  }
}

function publishIn(room: number, atOnce: number): void {
  for (let i = 0; i < atOnce; i++) {
    const s = published[room] as number
    published[room] = s + 1
    rooms.publish(nameOf(room), { s, at: performance.timeOrigin + performance.now() })
  }
}

function note(error: unknown): void {
  if (errors.length < 5) errors.push(String((error as Error)?.stack ?? error).slice(0, 300))
}
process.on('uncaughtException', note)
process.on('unhandledRejection', note)

serve({
  async start({ contestant, redis }: { contestant: string; redis: number | null }) {
    rooms = contestant.startsWith('koaws')
      ? koaws(redis, contestant !== 'koaws/none')
      : await socketIo(redis)
    rooms.http.listen(0, '127.0.0.1', 4096)
    await once(rooms.http, 'listening')
    return (rooms.http.address() as AddressInfo).port
  },
  /** Publishes some messages at once in each room, the rooms one after the other. */
  publish({ rooms: many, perSecond, atOnce }: PublishGiven) {
    published.push(...new Array(many).fill(0))
    usage = process.cpuUsage()
    since = performance.now()
    loop.enable()
    let turn = 0
    timer = setInterval(() => {
      const due = ((performance.now() - since) * perSecond * many) / atOnce / 1000
      // A server that is late leaves out what was due: otherwise its backlog grows for ever.
      if (due - turn > many) turn = Math.ceil(due) - many
      for (; turn < due; turn++) publishIn(turn % many, atOnce)
    }, STEP)
    sampler = setInterval(() => {
      rss = Math.max(rss, process.memoryUsage.rss())
    }, 1_000)
  },
  stop(): ServerReport {
    clearInterval(timer)
    clearInterval(sampler)
    const { user, system } = process.cpuUsage(usage)
    const cpu = (user + system) / 1000 / (performance.now() - since)
    const delay = { p99: loop.percentile(99) / 1e6, max: loop.max / 1e6 }
    const drops = Object.fromEntries(Object.entries(rooms.drops()).filter(([, many]) => many > 0))
    return { published, cpu, rss, loop: delay, drops, errors }
  },
})
