import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { listening } from './shared.mjs'

const forms = {
  emit: (socket) => socket.on('echo', (data) => socket.emit('echo', data)),
  ack: (socket) => socket.on('echo', (data, acknowledge) => acknowledge(data)),
}

export function start({ form }) {
  const server = createServer()
  const io = new Server(server, { transports: ['websocket'], serveClient: false })
  io.on('connection', forms[form])
  return listening(server.listen(0, '127.0.0.1'))
}
