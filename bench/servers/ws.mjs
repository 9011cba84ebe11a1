import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { verify } from '../lib/token.mjs'
import { guard, listener, listening, sameOrigin } from './shared.mjs'

const ROOM = /^\/room\/([^/?]+)(?:\?|$)/

function refuse(socket, status, message) {
  const body = JSON.stringify({ error: message })
  socket.once('finish', socket.destroy)
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

export function start({ form, behaviour }) {
  const wss = new WebSocketServer({ noServer: true, clientTracking: false })
  const attach = listener(behaviour)
  const server = createServer((_req, res) => res.writeHead(404).end())

  const opened = (ws) => {
    guard(ws)
    attach(ws)
  }

  const checked = (req, socket, head) => {
    // Node took its own listener away; a reset would end the process.
    guard(socket)
    try {
      if (!sameOrigin(req.headers)) return refuse(socket, '403 Forbidden', 'origin')
      const claims = verify(req.headers.authorization)
      if (claims === null) return refuse(socket, '401 Unauthorized', 'bad token')
      const match = ROOM.exec(req.url)
      if (match === null) return refuse(socket, '404 Not Found', 'not found')
      const room = decodeURIComponent(match[1])
      wss.handleUpgrade(req, socket, head, (ws) => opened(ws, room, claims))
    } catch {
      refuse(socket, '500 Internal Server Error', 'internal')
    }
  }

  const plain = (req, socket, head) => {
    wss.handleUpgrade(req, socket, head, opened)
  }

  server.on('upgrade', form === 'plain' ? plain : checked)
  return listening(server.listen(0, '127.0.0.1'))
}
