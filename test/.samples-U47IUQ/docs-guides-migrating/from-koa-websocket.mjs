// from-koa-websocket.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
const hub = koaWs({ maxPayload: 4 * 1024 * 1024 }) // was: websockify(app, { maxPayload })
app.use(hub)
app.use(hub.route('/test/:id', accept((connection, ctx) => {
  connection.send(`hello ${ctx.params.id}`)
})))
app.use((ctx) => {
  ctx.body = 'plain HTTP'
})
app.listen(process.env.PORT ?? 3000)
