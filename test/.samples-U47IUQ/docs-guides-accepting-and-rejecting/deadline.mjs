// deadline.mjs
import { setTimeout as wait } from 'node:timers/promises'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const app = new Koa()
app.use(koaWs({ handshakeTimeout: 2_000 }))
app.use(async (ctx, next) => {
  const ms = Number(ctx.query.ms ?? 0)
  await wait(ms, undefined, { signal: ctx.ws?.signal }) // a slow look-up
  await next()
})
app.use(accept((connection) => connection.send('in time')))
app.on('error', (error) => console.log(error.message))
app.listen(process.env.PORT ?? 3000)
