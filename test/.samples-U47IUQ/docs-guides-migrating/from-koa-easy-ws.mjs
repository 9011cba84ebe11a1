// from-koa-easy-ws.mjs
import Koa from 'koa'
import websocket from 'koaws'

const app = new Koa()
app.use(websocket())
app.use(async (ctx) => {
  if (ctx.ws) {
    const ws = await ctx.ws()
    ws.on('message', (data) => ws.send(`echo: ${data}`))
    return ws.send('hello there')
  }
  ctx.body = 'general kenobi'
})
app.listen(process.env.PORT ?? 3000)
