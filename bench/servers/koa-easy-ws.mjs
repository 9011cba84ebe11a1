import Router from '@koa/router'
import Koa from 'koa'
import websocket from 'koa-easy-ws'
import { authenticate, errorHandler } from './koa-chain.mjs'
import { guard, listener, listening, sameOrigin } from './shared.mjs'

export function start({ behaviour }) {
  const attach = listener(behaviour)
  const app = new Koa()
  const router = new Router()
  app.use(errorHandler)
  app.use((ctx, next) => {
    if (!sameOrigin(ctx.headers)) ctx.throw(403, 'origin')
    return next()
  })
  app.use(websocket())
  app.use(authenticate)
  router.get('/room/:id', async (ctx) => {
    const ws = await ctx.ws()
    guard(ws)
    attach(ws)
  })
  app.use(router.routes())
  return listening(app.listen(0, '127.0.0.1'))
}
