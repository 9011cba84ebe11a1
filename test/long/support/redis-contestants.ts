import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import Koa from 'koa'
import { createClient } from 'redis'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import koaWs, { accept, type HubStatus, messages } from '../../../lib/index.ts'

/** What an instance may be made of. */
export const CONTESTANTS = ['koaws', 'redis-adapter', 'redis-streams-adapter'] as const
export type Contestant = (typeof CONTESTANTS)[number]

/** What the backplane did with one message: sent, queued, failed, or nothing was said. */
export type Verdict = 'sent' | 'queued' | 'failed' | 'none'

/** The room in which everybody is. */
export const ROOM = 'lobby'

export interface Numbered {
  /** Who published it, and its number there, from 0. */
  readonly p: number
  readonly s: number
}

/** A server of a contestant whose clients are all in one room. */
export interface Instance {
  readonly http: Server
  /** Publish to the room. What it gives is what the library says of it; nothing where it says nothing. */
  publish(message: Numbered): Promise<Verdict> | undefined
  /** Of koaws. */
  status(): Pick<HubStatus, 'id' | 'backplane' | 'drops'> | undefined
}

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

export function startInstance(contestant: Contestant, redis: RedisAddress): Promise<Instance> {
  return contestant === 'koaws' ? koawsInstance(redis) : socketIoInstance(contestant, redis)
}

async function koawsInstance({ host, port }: RedisAddress): Promise<Instance> {
  const app = new Koa()
  const hub = koaWs({ adapter: redisAdapter({ client: createClient({ socket: { host, port } }) }) })
  const chat = messages().onOpen(async (connection) => {
    await connection.join(ROOM)
    connection.push('joined')
  })
  app.use(hub)
  app.use(accept(chat))
  const http = createServer(app.callback())
  hub.attach(http)
  return {
    http,
    publish: (message) => hub.room(ROOM).push('m', message).backplane,
    status: () => hub.status(),
  }
}

// What the benchmarks have installed; it comes without types here.
const bench = createRequire(new URL('../../../bench/package.json', import.meta.url))

interface Io {
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(type: string, data: unknown): boolean }
}
interface IoSocket {
  join(room: string): unknown
  emit(type: string): void
}

async function socketIoInstance(contestant: Contestant, address: RedisAddress): Promise<Instance> {
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
    options['adapter'] = createAdapter(client)
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
