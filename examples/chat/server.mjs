// A chat with rooms: one Koa app answers the pages, the login and the WebSockets.
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, bearer } from 'koaws'
import { makeChat } from './chat.mjs'
import { files, roomPage } from './files.mjs'
import { authenticated, login, recognised } from './login.mjs'
import { ROOMS } from './rooms.mjs'

const app = new Koa()
const hub = koaWs({ user: (ctx) => ctx.state.user?.sub }) // the user's id in the token
const router = new Router()
app.use(hub) // before the routes: from here on a WebSocket upgrade is a Koa request
app.use(files.routes())
app.use(login.routes())
app.use(router.routes())

router.get('/', (ctx) => ctx.redirect(`/rooms/${ROOMS[0]}`))
router.param('room', (room, ctx, next) => (ROOMS.includes(room) ? next() : ctx.throw(404)))

router.get('/rooms/:room', recognised, (ctx, next) => {
  if (ctx.state.user) return roomPage(ctx, next)
  ctx.redirect(`/login?room=${ctx.params.room}`)
})

router.get(
  '/rooms/:room/socket',
  bearer({ cookie: 'token' }), // the cookie becomes the Authorization header that koa-jwt reads
  authenticated, // without a login: closed with 4401
  // The connection is in its room from the start, and ends with 4401 when the token does.
  accept(makeChat(hub), { rooms: (ctx) => [ctx.params.room] }),
)

const server = app.listen(Number(process.env.PORT || 3000), '127.0.0.1', () => {
  console.log(`Chat on http://127.0.0.1:${server.address().port}/`)
})
hub.attach(server) // so that it is closed even when no request came before
hub.closeOnSignal()
