// session.mjs
import Router from '@koa/router'
import Koa from 'koa'
import { createSession } from 'koa-session'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.keys = [process.env.KEY ?? 'only for this sample']
app.use(koaWs())
app.use(createSession({}, app))

const router = new Router()

router.get('/count', (ctx, next) => {
  ctx.session.visits = (ctx.session.visits ?? 0) + 1
  ctx.set('X-Visits', String(ctx.session.visits))
  return next()
}, accept((connection, ctx) => connection.json({ visits: ctx.session.visits })))

router.get('/inside', async (ctx) => {
  ctx.session.visits = (ctx.session.visits ?? 0) + 1
  await ctx.session.manuallyCommit() // before the 101: afterwards no cookie reaches the client
  const connection = await ctx.ws()
  connection.json({ visits: ctx.session.visits })
})

app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
