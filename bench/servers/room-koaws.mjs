import { createServer } from 'node:https'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from '../../dist/index.js'
import { parsePublish, textOf } from '../lib/message.mjs'
import { listening } from './shared.mjs'

const closes = {}
const disconnects = {}
let hub

export function status() {
  return { closes, disconnects, drops: hub.status().drops }
}

export function start({ behaviour: { deflate, heartbeat, identity } }) {
  const app = new Koa()
  const router = new Router()
  hub = koaWs({
    onDisconnect(_connection, { code }) {
      disconnects[code] = (disconnects[code] ?? 0) + 1
    },
    ...(deflate && { perMessageDeflate: true }),
    ...(heartbeat !== undefined && {
      heartbeat: heartbeat === 0 ? false : { interval: heartbeat, timeout: heartbeat },
    }),
  })
  if (typeof hub.room !== 'function') throw new Error('dist has no hub.room()')

  function onMessage(data) {
    const text = data.toString()
    if (text.startsWith('probe')) return this.send(text)
    const { p, s, count, size } = parsePublish(text)
    for (let i = 0; i < count; i++) hub.room('lobby').send(textOf(p, s + i, size))
  }

  function onClose(code) {
    closes[code] = (closes[code] ?? 0) + 1
  }

  const handler = accept(async (connection) => {
    connection.on('message', onMessage)
    connection.on('close', onClose)
    await connection.join('lobby')
  })
  app.use(hub)
  app.use(router.get('/room/:id', handler).routes())
  const server = identity
    ? createServer(identity, app.callback()).listen(0, '127.0.0.1', 4096)
    : app.listen(0, '127.0.0.1', 4096)
  hub.attach(server)
  return listening(server)
}
