import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { parsePublish, textOf } from '../lib/message.mjs'
import { guard, listening } from './shared.mjs'

const closes = {}

export function status() {
  return { closes }
}

function frameOf(text) {
  const length = Buffer.byteLength(text)
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = 0x81
  frame[1] = head === 2 ? length : head === 4 ? 126 : 127
  if (head === 4) frame.writeUInt16BE(length, 2)
  if (head === 10) frame.writeBigUInt64BE(BigInt(length), 2)
  frame.write(text, head)
  return frame
}

/** The recipe of the README of ws: one timer that pings all clients. */
function pingAll(room, interval) {
  setInterval(() => {
    for (const ws of room) {
      if (!ws.alive) ws.terminate()
      else {
        ws.alive = false
        ws.ping()
      }
    }
  }, interval)
}

function alive() {
  this.alive = true
}

export function start({ form, behaviour: { deflate, heartbeat } }) {
  const perMessageDeflate = deflate && {
    serverNoContextTakeover: true,
    threshold: 1024,
    concurrencyLimit: 4,
  }
  const wss = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate })
  const server = createServer((_req, res) => res.writeHead(404).end())
  const room = new Set()
  const sockets = new Set()

  const broadcast = {
    send(text) {
      for (const ws of room) ws.send(text)
    },
    frame(text) {
      const frame = frameOf(text)
      for (const socket of sockets) socket.write(frame)
    },
  }[form]

  function onMessage(data) {
    const text = data.toString()
    if (text.startsWith('probe')) return this.send(text)
    const { p, s, count, size } = parsePublish(text)
    for (let i = 0; i < count; i++) broadcast(textOf(p, s + i, size))
  }

  function onClose(code) {
    room.delete(this)
    closes[code] = (closes[code] ?? 0) + 1
  }

  if (heartbeat) pingAll(room, heartbeat)
  server.on('upgrade', (req, socket, head) => {
    guard(socket)
    wss.handleUpgrade(req, socket, head, (ws) => {
      guard(ws)
      room.add(ws)
      ws.on('message', onMessage)
      ws.on('close', onClose)
      if (heartbeat) {
        ws.alive = true
        ws.on('pong', alive)
      }
      if (form === 'frame') {
        sockets.add(socket)
        socket.on('close', () => sockets.delete(socket))
      }
    })
  })
  return listening(server.listen(0, '127.0.0.1', 4096))
}
