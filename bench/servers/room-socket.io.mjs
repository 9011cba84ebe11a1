import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { objectOf, parsePublish } from '../lib/message.mjs'
import { listening } from './shared.mjs'

export function status() {
  return {}
}

export function start() {
  const server = createServer()
  const io = new Server(server, { transports: ['websocket'], serveClient: false })
  io.on('connection', (socket) => {
    void socket.join('lobby')
    socket.on('publish', (text) => {
      const { p, s, count, size } = parsePublish(text)
      // socket.io stringifies by itself, so it gets the object.
      for (let i = 0; i < count; i++) io.to('lobby').emit('m', objectOf(p, s + i, size))
    })
  })
  return listening(server.listen(0, '127.0.0.1', 4096))
}
