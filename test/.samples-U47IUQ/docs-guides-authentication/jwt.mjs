// jwt.mjs
import Router from '@koa/router'
import Koa from 'koa'
import jwt from 'koa-jwt'
import koaWs, { accept, bearer } from 'koaws'

const secret = process.env.SECRET ?? 'only for this sample'

const app = new Koa()
app.use(koaWs({ user: (ctx) => ctx.state.user?.sub })) // 1. checks the origin
app.use(bearer({ cookie: 'token', query: 'token' })) //    2. lifts the token
app.use(jwt({ secret })) //                                3. checks it

const router = new Router()
router.get('/live', accept((connection) => {
  connection.json({ user: connection.userId, path: connection.path, query: connection.query })
}))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
