// session-login.mjs
import Router from '@koa/router'
import Koa from 'koa'
import { createSession } from 'koa-session'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.keys = [process.env.KEY ?? 'only for this sample']
const hub = koaWs({ user: (ctx) => ctx.session?.user })
app.use(hub)
app.use(createSession({}, app))

const router = new Router()
router.post('/login/:name', (ctx) => {
  ctx.session.user = ctx.params.name // after checking a password
  ctx.body = 'welcome'
})
router.post('/logout', (ctx) => {
  const { user } = ctx.session
  ctx.session = null
  for (const connection of hub.localConnections.values()) {
    if (user && connection.userId === user) connection.close(4401, 'logged out')
  }
  ctx.body = 'bye'
})
router.get(
  '/live',
  (ctx, next) => (ctx.session.user ? next() : ctx.throw(401)),
  accept((connection) => connection.send(`hello ${connection.userId}`)),
)
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
