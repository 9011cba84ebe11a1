// from-ws.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
const hub = koaWs()
app.use(hub)
app.use((ctx, next) => {
  ctx.state.name = ctx.cookies.get('name') // the middleware that HTTP has already
  ctx.assert(ctx.state.name, 401)
  return next()
})

const router = new Router()
router.get('/', accept((connection, ctx) => connection.send(`hello ${ctx.state.name}`)))
router.get('/everybody', accept((connection) => {
  connection.on('message', (data) => {
    for (const other of hub.localConnections.values()) other.send(data.toString())
  })
}))
app.use(router.routes())

const server = app.listen(process.env.PORT ?? 3000)
hub.attach(server)
