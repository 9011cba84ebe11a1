// socketio.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import { Server } from 'socket.io'

const app = new Koa()
const hub = koaWs({ filter: (req) => !req.url.startsWith('/socket.io/') })
app.use(hub)
app.use((ctx, next) => (ctx.path === '/koa' ? next() : undefined))
app.use(accept((connection) => connection.send('from Koa')))

const server = app.listen(process.env.PORT ?? 3000)
hub.attach(server)

const io = new Server(server, { destroyUpgrade: false })
io.on('connection', (socket) => socket.emit('greeting', 'from Socket.IO'))
