// basic.mjs
import Koa from 'koa'
import basicAuth from 'koa-basic-auth'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs())
app.use(basicAuth({ name: 'ada', pass: process.env.PASS ?? 'pass' }))
app.use(accept((connection) => connection.send('in')))
app.listen(process.env.PORT ?? 3000)
