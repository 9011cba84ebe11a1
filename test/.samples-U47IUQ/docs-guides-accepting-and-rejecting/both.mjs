// both.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs())

const router = new Router()

// When the chain has finished: the handler runs after all middleware is done.
router.get('/after', accept((connection) => connection.send('hello')))

// Now: the outer middleware waits until this function returns.
router.get('/inside', async (ctx) => {
  if (!ctx.ws) {
    ctx.body = 'plain HTTP'
    return
  }
  const connection = await ctx.ws()
  connection.send('hello')
})

app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
