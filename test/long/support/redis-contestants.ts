import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import Koa from 'koa'
import { createClient } from 'redis'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import koaWs, { accept, type HubStatus, messages } from '../../../lib/index.ts'

/** The libraries that an instance may use. */
export const CONTESTANTS = ['koaws', 'redis-adapter', 'redis-streams-adapter'] as const
export type Contestant = (typeof CONTESTANTS)[number]

/**
 * What the backplane did with a message; `none` when the library does not report it. In a room with
 * history, the position at which it is recorded, or `failed`.
 */
export type Verdict = 'sent' | 'queued' | 'failed' | 'none' | { readonly position: string }

/** The room of all clients. */
export const ROOM = 'lobby'

export interface Numbered {
  /** The publisher, and the number of its message from 0. */
  readonly p: number
  readonly s: number
}

/** A server of a contestant with all clients in one room. */
export interface Instance {
  readonly http: Server
  /** Publishes to the room. @returns the report of the library; undefined when it has none */
  publish(message: Numbered): Promise<Verdict> | undefined
  /** The status of koaws. */
  status(): Pick<HubStatus, 'id' | 'backplane' | 'drops' | 'history'> | undefined
}

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** The settings of instances with a history. */
export interface RecoverySettings {
  /** The messages that the queue of an instance of koaws may hold. */
  readonly maxQueued?: number | undefined
}

/** What is kept: all messages of a run. */
const KEPT = 100_000

export function startInstance(
  contestant: Contestant,
  redis: RedisAddress,
  recovery?: RecoverySettings,
): Promise<Instance> {
  return contestant === 'koaws'
    ? koawsInstance(redis, recovery)
    : socketIoInstance(contestant, redis, recovery)
}

async function koawsInstance(
  { host, port }: RedisAddress,
  recovery?: RecoverySettings,
): Promise<Instance> {
  const app = new Koa()
  const client = createClient({ socket: { host, port } })
  const maxQueued = recovery?.maxQueued ? { messages: recovery.maxQueued } : undefined
  const hub = koaWs({
    adapter: redisAdapter({ client, maxQueued }),
    history: recovery && { rooms: ROOM, messages: KEPT, bytes: 64 * 1024 * 1024 },
  })
  const chat = messages().onOpen(async (connection) => {
    await connection.join(ROOM)
    connection.push('joined')
  })
  app.use(hub)
  // Recoveries are limited for each user, or for each address without one.
  app.use(accept(chat, { user: ({ query }) => query['user']?.toString() }))
  const http = createServer(app.callback())
  hub.attach(http)
  return {
    http,
    async publish(message) {
      const delivery = hub.room(ROOM).push('m', message)
      return recovery ? delivery.recorded : delivery.backplane
    },
    status: () => hub.status(),
  }
}

// The packages of the benchmarks, which come without types here.
const bench = createRequire(new URL('../../../bench/package.json', import.meta.url))

interface Io {
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(type: string, data: unknown): boolean }
}
interface IoSocket {
  join(room: string): unknown
  emit(type: string): void
}

async function socketIoInstance(
  contestant: Contestant,
  address: RedisAddress,
  recovery?: RecoverySettings,
): Promise<Instance> {
  const { Server: SocketIo } = bench('socket.io')
  const make: typeof createClient = bench('redis').createClient
  const connected = async (client: ReturnType<typeof createClient>) => {
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const client = await connected(make({ socket: { ...address } }) as never)
  const options: Record<string, unknown> = { transports: ['websocket'], serveClient: false }
  if (contestant === 'redis-adapter') {
    const { createAdapter } = bench('@socket.io/redis-adapter')
    options['adapter'] = createAdapter(client, await connected(client.duplicate() as never))
  } else {
    const { createAdapter } = bench('@socket.io/redis-streams-adapter')
    options['adapter'] = createAdapter(client, recovery && { maxLen: KEPT })
    options['connectionStateRecovery'] = {}
  }
  const http = createServer()
  const io: Io = new SocketIo(http, options)
  io.on('connection', async (socket) => {
    await socket.join(ROOM)
    socket.emit('joined')
  })
  return {
    http,
    publish(message) {
      io.to(ROOM).emit('m', message)
      return undefined
    },
    status: () => undefined,
  }
}
