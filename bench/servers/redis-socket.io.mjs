import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { objectOf } from '../lib/message.mjs'
import { listening } from './shared.mjs'

let io

export function status() {
  return {}
}

export function publish(p, s, size) {
  io.to('lobby').emit('m', objectOf(p, s, size))
}

export async function start({ form, redis }) {
  const client = await connected(createClient({ socket: { host: '127.0.0.1', port: redis } }))
  const options = { transports: ['websocket'], serveClient: false }
  if (form === 'pubsub') {
    options.adapter = createAdapter(client, await connected(client.duplicate()))
  } else {
    options.adapter = createStreamsAdapter(client)
    options.connectionStateRecovery = {}
  }
  const server = createServer()
  io = new Server(server, options)
  io.on('connection', (socket) => void socket.join('lobby'))
  return listening(server.listen(0, '127.0.0.1', 4096))
}

async function connected(client) {
  client.on('error', () => {})
  await client.connect()
  return client
}
