// app.mjs
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

export const app = new Koa()
app.keys = [process.env.KEY ?? randomBytes(32).toString('hex')] // signs the cookie
export const hub = koaWs()
app.use(hub)

const router = new Router()

router.get('/login', (ctx) => {
  ctx.type = 'html'
  ctx.body = '<!doctype html><form method="post"><input name="name"> <button>Log in</button></form>'
})

router.post('/login', async (ctx) => {
  ctx.assert(ctx.request.length <= 1000, 413)
  const name = new URLSearchParams(await text(ctx.req)).get('name')
  ctx.assert(name, 400, 'Tell your name')
  ctx.cookies.set('name', encodeURIComponent(name), { signed: true, httpOnly: true, sameSite: 'lax' })
  ctx.status = 303
  ctx.redirect('/rooms/lobby')
})

function needsLogin(ctx, next) {
  const name = ctx.cookies.get('name', { signed: true })
  ctx.assert(name, 401, 'Log in first')
  ctx.state.name = decodeURIComponent(name)
  return next()
}

router.get('/rooms/:room', needsLogin, async (ctx) => {
  ctx.type = 'html'
  ctx.body = await readFile(new URL('index.html', import.meta.url))
})

router.get('/rooms/:room/socket', needsLogin, accept((connection, ctx) => {
  const { room } = ctx.params
  const { name } = ctx.state
  connection.join(room)
  connection.on('message', (data) => sendTo(room, `${name}: ${data}`))
}))

function sendTo(room, message) {
  for (const connection of hub.localConnections.values()) {
    if (connection.rooms.has(room)) connection.send(message)
  }
}

app.use(router.routes())
