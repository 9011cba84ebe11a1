import Router from '@koa/router'
import Koa from 'koa'
import { importKoaws } from '../lib/base.mjs'
import { authenticate, errorHandler } from './koa-chain.mjs'
import { listener, listening } from './shared.mjs'

export async function start({ form, behaviour, base }) {
  const { default: koaWs, accept } = await importKoaws(base)
  const attach = listener(behaviour)
  const app = new Koa()
  const router = new Router()
  const hub = koaWs()
  const routes = {
    after: accept((connection) => attach(connection)),
    captured: accept((connection, ctx) => {
      attach(connection)
      connection.on('message', () => ctx.path)
    }),
    inside: async (ctx) => {
      const connection = await ctx.ws()
      attach(connection)
    },
  }
  app.use(errorHandler)
  app.use(hub)
  app.use(authenticate)
  app.use(router.get('/room/:id', routes[form]).routes())
  const server = app.listen(0, '127.0.0.1')
  hub.attach(server)
  return listening(server)
}
