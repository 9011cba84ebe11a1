import { randomBytes } from 'node:crypto'
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
    // Node removed its own listener; without this one a reset would end the process.
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

  // What a connection of koaws knows of its handshake, kept by hand.
  const all = new Map()
  const facts = (req, socket, head) => {
    const claims = verify(req.headers.authorization)
    const match = ROOM.exec(req.url)
    if (claims === null || match === null) return refuse(socket, '401 Unauthorized', 'bad token')
    wss.handleUpgrade(req, socket, head, (ws) => {
      ws.id = randomBytes(15).toString('base64url')
      ws.user = claims
      ws.params = { id: match[1] }
      ws.ip = socket.remoteAddress
      ws.target = req.url
      ws.openedAt = Date.now()
      all.set(ws.id, ws)
      // Shared: a closure for each connection would count as a fact.
      ws.on('close', forget)
      opened(ws)
    })
  }
  function forget() {
    all.delete(this.id)
  }

  const plain = (req, socket, head) => {
    wss.handleUpgrade(req, socket, head, opened)
  }

  server.on('upgrade', { plain, facts, checked }[form])
  return listening(server.listen(0, '127.0.0.1'))
}
