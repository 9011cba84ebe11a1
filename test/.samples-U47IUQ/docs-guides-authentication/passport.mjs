// passport.mjs
import Router from '@koa/router'
import Koa from 'koa'
import passport from 'koa-passport'
import { Strategy } from 'passport-http-bearer'
import koaWs, { accept, bearer } from 'koaws'

const users = new Map([['a-token', { id: '7', name: 'Ada' }]])
passport.use(new Strategy((token, done) => done(null, users.get(token) ?? false)))

const app = new Koa()
app.use(koaWs({ user: (ctx) => ctx.state.user?.id }))
app.use(bearer({ cookie: 'token' }))
app.use(passport.initialize())

const router = new Router()
router.get(
  '/live',
  passport.authenticate('bearer', { session: false }),
  accept((connection, ctx) => connection.send(`hello ${ctx.state.user.name}`)),
)
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
