// heartbeat.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const answered = new WeakSet()
const hub = koaWs({
  onConnect: (connection) => {
    answered.add(connection)
    connection.on('pong', () => answered.add(connection))
  },
})

const app = new Koa()
app.use(hub)
app.use(accept((connection) => connection.send('hello')))
app.listen(process.env.PORT ?? 3000)

setInterval(() => {
  for (const connection of hub.localConnections.values()) {
    if (answered.delete(connection)) connection.ping()
    else connection.terminate() // no pong since the last ping
  }
}, Number(process.env.PING ?? 25_000))
