// server.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa({ proxy: true }) // nginx sets the X-Forwarded headers
const hub = koaWs()
app.use(hub)

const router = new Router()
router.get('/ip', accept((connection, ctx) => connection.send(`${ctx.ip} ${ctx.protocol}`)))
router.get('/echo', accept((connection) => {
  connection.on('message', (data, isBinary) => connection.send(data, { binary: isBinary }))
}))
router.get('/private', (ctx) => ctx.throw(401, 'Log in first'))
app.use(router.routes())

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1')
hub.attach(server)
