// The app: pages, login and WebSockets. server.mjs listens.
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, bearer } from 'koaws'
import { makeChat } from './chat.mjs'
import { files, roomPage } from './files.mjs'
import { RECORDED, snapshotOf } from './history.mjs'
import { authenticated, loggedIn, login, recognised } from './login.mjs'
import { logOf, ROOMS } from './rooms.mjs'

/**
 * Creates the chat and its hub.
 *
 * @param instance its name among several, shown on the page
 * @param proxy whether a proxy sets the X-Forwarded headers
 * @param adapter connects several instances
 * @param history whether messages are recorded. By default where the adapter can do so
 * @param options more options of the hub
 */
export function makeApp({
  instance,
  proxy = false,
  adapter,
  history = !adapter || adapter.history !== undefined,
  ...options
} = {}) {
  const app = new Koa({ proxy })
  const hub = koaWs({
    ...options,
    adapter,
    history: history ? RECORDED : undefined,
    user: (ctx) => ctx.state.user?.sub, // the user's id in the token
    presence: { info: ({ state }) => ({ name: state.user.name }) }, // public on all instances
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

  router.get('/rooms/:room/history', loggedIn, async (ctx) => {
    const { sub: id, name } = ctx.state.user
    const snapshot = history && (await snapshotOf(hub, ctx.params.room, id))
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { you: { id, name }, messages: [], positions: {}, ...snapshot }
  })

  router.get(
    '/rooms/:room/socket',
    bearer({ cookie: 'token' }), // the cookie becomes the Authorization header that koa-jwt reads
    authenticated, // without a login: closed with 4401
    // The connection joins its rooms before the handler runs, and closes with 4401 when the token expires.
    accept(makeChat(hub, { instance }), {
      rooms: ({ params: { room } }) => [room, logOf(room)],
    }),
  )

  return { app, hub }
}
