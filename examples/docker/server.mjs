// server.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import { redisAdapter } from 'koaws/redis'
import { createClient } from 'redis'

const client = createClient({ url: process.env.REDIS_URL })
const app = new Koa()
const hub = koaWs({ adapter: redisAdapter({ client }) })
app.use(hub)

const router = new Router()
router.get('/alive', (ctx) => {
  ctx.status = 204
})
router.get('/ready', (ctx) => {
  ctx.status = hub.status().ready ? 200 : 503
})
router.get(
  '/live',
  accept((connection) => {
    connection.join('lobby')
    connection.on('message', (data) => hub.room('lobby').send(data.toString()))
  }),
)
app.use(router.routes())

hub.attach(app.listen(process.env.PORT ?? 3000))
hub.closeOnSignal({ timeout: 10_000 }) // below stop_grace_period
