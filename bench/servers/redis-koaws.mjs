import Router from '@koa/router'
import Koa from 'koa'
import { createClient } from 'redis'
import { redisAdapter } from '../../dist/adapters/redis/index.js'
import koaWs, { accept } from '../../dist/index.js'
import { textOf } from '../lib/message.mjs'
import { listening } from './shared.mjs'

let hub

export function status() {
  const { backplane, drops } = hub.status()
  return { backplane, drops }
}

export function publish(p, s, size) {
  hub.room('lobby').send(textOf(p, s, size))
}

export function start({ redis }) {
  const client = createClient({ socket: { host: '127.0.0.1', port: redis } })
  const app = new Koa()
  const router = new Router()
  hub = koaWs({ adapter: redisAdapter({ client }) })
  const handler = accept(async (connection) => {
    await connection.join('lobby')
  })
  app.use(hub)
  app.use(router.get('/room/:id', handler).routes())
  const server = app.listen(0, '127.0.0.1', 4096)
  hub.attach(server)
  return listening(server)
}
