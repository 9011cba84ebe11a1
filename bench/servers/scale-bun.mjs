/** The same as scale.mjs for Bun, over HTTP/1.1: it has no WebSocket over HTTP/2. */
import { startDelay, stopDelay } from '../lib/delay.mjs'
import { serve } from '../lib/rpc.mjs'
import { roomsOf, TEXT } from './scale-rooms.mjs'

const { Bun } = globalThis
const open = new Set()

let server
let allClosed = () => {}

serve({
  start({ heartbeat }) {
    server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch(request, self) {
        const n = new URL(request.url).pathname.split('/').at(-1)
        const upgraded = self.upgrade(request, { data: { n } })
        return upgraded ? undefined : new Response('not found', { status: 404 })
      },
      websocket: {
        // Bun pings 8 s before the end of the idle time.
        idleTimeout: Math.ceil(heartbeat / 1000) + 8,
        sendPings: true,
        open(ws) {
          open.add(ws)
          ws.subscribe('all')
          for (const room of roomsOf(ws.data.n)) ws.subscribe(room)
        },
        message(ws, text) {
          ws.send(text)
        },
        close(ws) {
          open.delete(ws)
          if (open.size === 0) allClosed()
        },
      },
    })
    return { port: server.port }
  },
  startDelay,
  stopDelay,
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  /** In bytes, after a collection. */
  memory() {
    Bun.gc(true)
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rss, heap: heapUsed, external }
  },
  status() {
    return { connections: open.size, drops: {} }
  },
  send({ room = 'all' }) {
    server.publish(room, TEXT)
  },
  /** Resolves to the time that closing took, in milliseconds. */
  async close({ timeout }) {
    const began = performance.now()
    const closed = new Promise((resolve, reject) => {
      allClosed = resolve
      setTimeout(() => reject(new Error(`${open.size} are open`)), timeout).unref()
    })
    for (const ws of open) ws.close(1001)
    await closed
    return performance.now() - began
  },
})
