// server.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
const hub = koaWs()
const app = new Koa().use(hub)
app.use((ctx, next) => (ctx.query.name ? next() : ctx.throw(401, 'Tell your name')))
app.use(accept((connection, { path, query }) => {
  connection.join(path) // every path is a room
  connection.on('message', (data) => {
    for (const other of hub.localConnections.values()) if (other.rooms.has(path)) other.send(`${query.name}: ${data}`)
  })
}))
app.listen(process.env.PORT ?? 3000)
