/**
 * One instance for history.mjs, which serves the commands of rpc.mjs. It can be of another build, and be without the
 * option `history`.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Router from '@koa/router'
import Koa from 'koa'
import { createClient } from 'redis'
import { serveOrders } from '../lib/orders.mjs'
import { serve } from '../lib/rpc.mjs'

const TEXT = 'the same text for every message, repeated '.repeat(30)

/** Most messages that are on their way while a room is filled. */
const FILLING = 50

// The flag of the command line, because Child starts all its children alike.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

let hub
let largestRss = 0
let sampling

/** The data of message s: the text of its push has `size` bytes. */
function dataOf(s, size) {
  const rest = size - JSON.stringify({ type: 'said', data: { s, text: '' } }).length
  return { s, text: TEXT.slice(0, rest) }
}

async function adapterOf({ dist, adapter, redis, name }) {
  const load = (file) => import(pathToFileURL(`${dist}/${file}`))
  if (adapter === 'redis') {
    const { redisAdapter } = await load('adapters/redis/index.js')
    return redisAdapter({ client: createClient({ socket: { host: '127.0.0.1', port: redis } }) })
  }
  if (adapter === 'cluster') {
    const { clusterAdapter } = await load('adapters/cluster/index.js')
    return clusterAdapter({ name })
  }
  return undefined
}

/** Lines "room,s,count,rooms,size": publishes message s and so on, each to one of the rooms by turns. */
function orders() {
  return serveOrders((line) => {
    const [room, ...numbers] = line.split(',')
    const [s, count, rooms, size] = numbers.map(Number)
    for (let i = s; i < s + count; i++) {
      hub.room(`${room}:${i % rooms}`).push('said', dataOf(i, size))
    }
  })
}

/** How many rooms of a group a connection enters. */
const roomsOf = ({ params, query }) =>
  Array.from({ length: Number(query.rooms ?? 1) }, (_, i) =>
    query.room === undefined ? `${params.group}:${i}` : `${params.group}:${query.room}`,
  )

async function start(options) {
  const {
    default: koaWs,
    accept,
    messages,
  } = await import(pathToFileURL(`${options.dist}/index.js`))
  const adapter = await adapterOf(options)
  const { history } = options
  hub = koaWs({
    user: (ctx) => ctx.query.user,
    ...(adapter && { adapter }),
    ...(history && { history }),
  })
  const service = messages()
    .on('echo', ({ data }) => data)
    .on('hop', async ({ connection }) => {
      connection.leave('plain:0')
      await connection.join('plain:0')
    })
  const app = new Koa()
  app.silent = true
  app.use(hub)
  app.use(new Router().get('/in/:group', accept(service, { rooms: roomsOf })).routes())
  const server = app.listen(0, '127.0.0.1', 4096)
  hub.attach(server)
  if (!server.listening) await once(server, 'listening')
  return { port: server.address().port, orders: await orders() }
}

/** Records messages, one in each turn. Returns the position before them, which is that of another message. */
async function fill({ room, count, size }) {
  const first = await hub.room(room).push('said', dataOf(99_999, size)).recorded
  if (first === 'failed') throw new Error('not recorded')
  const { position } = first
  for (let s = 0; s < count; s += FILLING) {
    const results = []
    for (let i = s; i < Math.min(count, s + FILLING); i++) {
      results.push(hub.room(room).push('said', dataOf(100_000 + i, size)).recorded)
      await new Promise(setImmediate)
    }
    if ((await Promise.all(results)).includes('failed')) throw new Error('not recorded')
  }
  return position
}

serve({
  start,
  /** Resolves when the instance knows so many others. */
  async ready({ others }) {
    for (let i = 0; i < 500; i++) {
      const { backplane } = hub.status()
      if (others === 0 || (backplane.state === 'ready' && backplane.instances >= others)) return
      await sleep(20)
    }
    throw new Error(`not ready: ${JSON.stringify(hub.status().backplane)}`)
  },
  /** Resolves when only the members are left. */
  async idle({ members = 0 }) {
    while (hub.status().connections > members) await sleep(20)
  },
  fill,
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  status() {
    const { backplane, history, drops, connections } = hub.status()
    return { lost: backplane?.lost ?? 0, history, drops, connections }
  },
  /** Begins to look for the largest resident memory. Returns what it is now. */
  watchMemory() {
    collect()
    largestRss = process.memoryUsage.rss()
    sampling = setInterval(() => {
      largestRss = Math.max(largestRss, process.memoryUsage.rss())
    }, 50)
    return largestRss
  },
  /** Returns the largest resident memory since then, and what is in use after a collection. */
  memory() {
    clearInterval(sampling)
    const rss = Math.max(largestRss, process.memoryUsage.rss())
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return { rss, heap: heapUsed + external }
  },
})
