// subprotocol.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs())

const tell = (connection) => connection.send(connection.protocol || 'none')
const router = new Router()
router.get('/one', accept(tell, { subprotocol: 'chat.v2' }))
router.get('/list', accept(tell, { subprotocol: ['chat.v2', 'chat.v1'] })) // the order is yours
router.get('/chosen', accept(tell, {
  subprotocol: (offered, ctx) => offered.find((name) => name.startsWith(`${ctx.query.kind}.`)) ?? false,
}))
router.get('/any', accept(tell))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
