// tickets.mjs
import { randomUUID } from 'node:crypto'
import Router from '@koa/router'
import Koa from 'koa'
import jwt from 'koa-jwt'
import koaWs, { accept } from 'koaws'

const secret = process.env.SECRET ?? 'only for this sample'
const tickets = new Map()

const app = new Koa()
app.use(koaWs())

const router = new Router()
router.post('/tickets', jwt({ secret }), (ctx) => {
  const ticket = randomUUID()
  tickets.set(ticket, ctx.state.user)
  setTimeout(() => tickets.delete(ticket), 30_000).unref()
  ctx.body = { ticket }
})

function spendTicket(ctx, next) {
  const user = tickets.get(ctx.query.ticket)
  tickets.delete(ctx.query.ticket)
  ctx.assert(user, 401, 'Ask for a new ticket')
  ctx.state.user = user
  return next()
}

router.get('/live', spendTicket, accept((connection, ctx) => connection.send(`hello ${ctx.state.user.sub}`)))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
