/**
 * A worker of pm2-reload.ts: PM2 starts it as plain JavaScript, so koaws is taken from dist. What it is
 * comes in the environment: CONTESTANT, PORT, REDIS_PORT. When it is told to stop, it writes so into the file
 * ENDS.
 */
import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

const { CONTESTANT, ENDS, PORT, REDIS_PORT } = process.env
const redisAt = { socket: { host: '127.0.0.1', port: Number(REDIS_PORT) } }
const roomOf = (name) => `room-${name}`

process.once('SIGINT', () => appendFileSync(ENDS, `${process.pid} ${Date.now()}\n`))

const hasHistory = CONTESTANT.endsWith('+history')
const http = await (CONTESTANT.startsWith('koaws') ? koaws() : socketIo())
http.listen(Number(PORT), '127.0.0.1', 4096, () => process.send?.('ready'))

async function koaws() {
  const { default: Koa } = await import('koa')
  const { default: koaWs, accept, messages } = await import('../../../dist/index.js')
  const hub = koaWs({
    adapter: await adapter(),
    user: (ctx) => ctx.query.user,
    ...(hasHistory && { history: { rooms: 'room-*' } }),
  })
  const chat = messages()
    .onOpen(async (connection, ctx) => {
      await connection.join(roomOf(ctx.query.room))
      connection.push('joined', process.pid)
    })
    .on('say', async ({ data }) => {
      const at = Date.now()
      const sent = hub.room(roomOf(data.room)).push('m', data)
      return { at, ...(await resultOf(sent)), pid: process.pid, age: process.uptime() }
    })
  const app = new Koa()
  app.use(hub)
  app.use(accept(chat))
  const server = createServer(app.callback())
  hub.attach(server)
  hub.closeOnSignal({ timeout: 5_000 })
  return server
}

async function resultOf({ backplane, recorded }) {
  if (!hasHistory) return { verdict: await backplane }
  const result = await recorded
  return typeof result === 'string'
    ? { verdict: result }
    : { verdict: 'recorded', position: result.position }
}

async function adapter() {
  if (CONTESTANT.startsWith('koaws/cluster')) {
    const { clusterAdapter } = await import('../../../dist/adapters/cluster/index.js')
    return clusterAdapter()
  }
  const { createClient } = await import('redis')
  const { redisAdapter } = await import('../../../dist/adapters/redis/index.js')
  return redisAdapter({ client: createClient(redisAt) })
}

async function socketIo() {
  const bench = createRequire(new URL('../../../bench/package.json', import.meta.url))
  const { createAdapter } = bench('@socket.io/redis-streams-adapter')
  const { Server } = bench('socket.io')
  const client = bench('redis').createClient(redisAt)
  client.on('error', () => {})
  await client.connect()
  const server = createServer()
  const io = new Server(server, {
    transports: ['websocket'],
    serveClient: false,
    adapter: createAdapter(client),
    connectionStateRecovery: {},
  })
  io.on('connection', async (socket) => {
    socket.on('say', (data, reply) => {
      const at = Date.now()
      io.to(roomOf(data.room)).emit('m', data)
      reply({ at, pid: process.pid, age: process.uptime() })
    })
    await socket.join(roomOf(socket.handshake.query.room))
    socket.emit('joined', process.pid)
  })
  // Without it a reload cuts what is in flight, and no session is stored.
  process.once('SIGINT', () => {
    io.close()
    setTimeout(() => process.exit(0), 1_000)
  })
  return server
}
