// reject-close.mjs
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs({ reject: 'close' }))
app.use((ctx, next) => {
  if (ctx.query.token !== 'good') ctx.throw(401, 'Log in first')
  return next()
})
app.use(accept((connection) => connection.send('in')))
app.listen(process.env.PORT ?? 3000)
