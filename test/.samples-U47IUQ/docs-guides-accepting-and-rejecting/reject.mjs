// reject.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs())

const router = new Router()

router.get('/thrown', (ctx) => ctx.throw(401, 'Log in first', { headers: { 'WWW-Authenticate': 'Bearer' } }))

router.get('/answered', (ctx) => {
  ctx.status = 403
  ctx.body = { error: 'not yours' }
})

router.get('/moved', (ctx) => ctx.redirect('/new'))

// The last word wins: this one accepts, and the middleware around it changes its mind.
router.get(
  '/late',
  async (ctx, next) => {
    await next()
    if (ctx.query.full) ctx.status = 503
  },
  accept((connection) => connection.send('in')),
)

app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
