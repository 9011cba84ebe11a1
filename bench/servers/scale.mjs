/** One instance for scale.mjs and growth.mjs. It serves the commands of rpc.mjs. */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, messages } from '../../dist/index.js'
import { startDelay, stopDelay } from '../lib/delay.mjs'
import { profiling } from '../lib/profile.mjs'
import { serve } from '../lib/rpc.mjs'
import { roomsOf, TEXT } from './scale-rooms.mjs'

const MAKE = {
  'http/1.1': (callback) => http.createServer(callback),
  'http/1.1 with TLS': (callback, identity) => https.createServer(identity, callback),
  'http/2': (callback) => http2.createServer(callback),
}

const FRAME = Buffer.concat([Buffer.from([0x81, TEXT.length]), Buffer.from(TEXT)])

let hub

function cpuSince(began) {
  const { user, system } = process.cpuUsage(began)
  return user + system
}

serve({
  async start({ kind, heartbeat, presence, identity }) {
    hub = koaWs({
      heartbeat: heartbeat === 0 ? false : { interval: heartbeat, timeout: heartbeat },
      ...(presence && {
        presence: { rooms: 'people:*', info: () => ({ name: 'somebody' }), linger: 0 },
      }),
    })
    const echo = (connection) => connection.on('message', (data) => connection.send(String(data)))
    const app = new Koa()
    app.use(hub)
    const router = new Router()
      .get('/in/:n', accept(echo, { rooms: ({ params }) => roomsOf(params.n) }))
      .get('/v1', accept(messages()))
    app.use(router.routes())
    const server = MAKE[kind](app.callback(), identity)
    hub.attach(server)
    server.listen(0, '127.0.0.1', 4096)
    await once(server, 'listening')
    return { port: server.address().port }
  },
  ...profiling,
  startDelay,
  stopDelay,
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  /** In bytes, after a collection. */
  memory() {
    globalThis.gc()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rss, heap: heapUsed, external }
  },
  status() {
    const { connections, rooms, drops } = hub.status()
    return { connections, rooms, drops }
  },
  /** Sends a message to a room or to all. */
  send({ room }) {
    const target = room === undefined ? hub.all() : hub.room(room)
    target.send(TEXT)
  },
  /**
   * Has every connection join and then leave rooms that `each` connections share, `times` times.
   * Returns the CPU time of both, in microseconds.
   */
  async change({ name, each, times, pause = 0 }) {
    const connections = [...hub.localConnections.values()]
    const rooms = connections.map((_, n) => `${name}:${Math.floor(n / each)}`)
    const us = { join: 0, leave: 0 }
    for (let i = 0; i < times; i++) {
      for (const what of ['join', 'leave']) {
        const began = process.cpuUsage()
        for (const [n, connection] of connections.entries()) connection[what](rooms[n])
        if (pause > 0) await sleep(pause) // presence tells what has changed after 50 ms
        us[what] += cpuSince(began)
      }
    }
    return us
  },
  /**
   * Sends single messages to all, or with `raw` writes their frame to each socket without koaws.
   * Returns the CPU time, in microseconds.
   */
  async broadcasts({ count, pause, raw }) {
    const sockets = [...hub.localConnections.values()].map(({ _socket }) => _socket)
    const began = process.cpuUsage()
    for (let i = 0; i < count; i++) {
      if (raw) for (const socket of sockets) socket.write(FRAME)
      else hub.all().send(TEXT)
      await sleep(pause)
    }
    return cpuSince(began)
  },
  /** Resolves to the time that closing took, in milliseconds. */
  async close({ timeout }) {
    const began = performance.now()
    await hub.close({ timeout })
    return performance.now() - began
  },
})
