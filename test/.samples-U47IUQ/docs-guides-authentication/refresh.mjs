// refresh.mjs
import Router from '@koa/router'
import jsonwebtoken from 'jsonwebtoken'
import Koa from 'koa'
import jwt from 'koa-jwt'
import koaWs, { accept, bearer } from 'koaws'

const secret = process.env.SECRET ?? 'only for this sample'

const app = new Koa()
app.use(koaWs({ user: (ctx) => ctx.state.user?.sub }))
app.use(bearer())
app.use(jwt({ secret }))

const router = new Router()
router.get('/live', accept((connection) => {
  connection.json({ expiresAt: connection.expiresAt })
  connection.on('message', (data) => {
    const { token } = JSON.parse(data)
    const user = jsonwebtoken.verify(token, secret)
    connection.refresh({ userId: user.sub, expiresAt: user.exp * 1000, state: { user } })
    connection.json({ expiresAt: connection.expiresAt })
  })
}))
app.use(router.routes())
app.on('error', (error) => console.log(error.message))
app.listen(process.env.PORT ?? 3000)
