// The app: pages, login and WebSockets. Who starts it listens, see server.mjs.
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, bearer } from 'koaws'
import { makeChat } from './chat.mjs'
import { files, roomPage } from './files.mjs'
import { authenticated, login, recognised } from './login.mjs'
import { ROOMS } from './rooms.mjs'

/**
 * Makes the chat, and its hub.
 *
 * @param instance its name among several, shown on the page
 * @param proxy whether one stands in front, and sets the X-Forwarded headers
 * @param options more options of the hub, such as an adapter
 */
export function makeApp({ instance, proxy = false, ...options } = {}) {
  const app = new Koa({ proxy })
  const hub = koaWs({
    ...options,
    user: (ctx) => ctx.state.user?.sub, // the user's id in the token
    presence: { info: ({ state }) => ({ name: state.user.name }) }, // what all instances may know
  })
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
    accept(makeChat(hub, { instance }), { rooms: (ctx) => [ctx.params.room] }),
  )

  return { app, hub }
}
