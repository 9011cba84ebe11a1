import { parsePublish, textOf } from '../lib/message.mjs'

const closes = {}

export function status() {
  return { closes }
}

export function start({ behaviour: { heartbeat } }) {
  const server = globalThis.Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request, self) {
      return self.upgrade(request) ? undefined : new Response('not found', { status: 404 })
    },
    websocket: {
      // Bun pings 8 s before the end of the idle time, so the interval is about heartbeat - 8 s.
      ...(heartbeat && { idleTimeout: Math.ceil(heartbeat / 1000) + 10, sendPings: true }),
      open(ws) {
        ws.subscribe('lobby')
      },
      message(ws, text) {
        if (text.startsWith('probe')) return ws.send(text)
        const { p, s, count, size } = parsePublish(text)
        for (let i = 0; i < count; i++) server.publish('lobby', textOf(p, s + i, size))
      },
      close(_ws, code) {
        closes[code] = (closes[code] ?? 0) + 1
      },
    },
  })
  return { address: () => ({ port: server.port }) }
}
