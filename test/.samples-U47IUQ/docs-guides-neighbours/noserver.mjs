// noserver.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import { WebSocketServer } from 'ws'

const app = new Koa()
const hub = koaWs()
app.use(hub)
app.use((ctx, next) => (ctx.path === '/koa' ? next() : undefined))
app.use(accept((connection) => connection.send('from Koa')))

const server = app.listen(process.env.PORT ?? 3000)
hub.attach(server)

const wss = new WebSocketServer({ noServer: true })
server.on('upgrade', (req, socket, head) => {
  if (req.url !== '/theirs') return
  wss.handleUpgrade(req, socket, head, (ws) => ws.send('from ws'))
})
