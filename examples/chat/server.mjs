// A chat with rooms: one Koa app answers the pages, the login and the WebSockets.
import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import Router from '@koa/router'
import jsonwebtoken from 'jsonwebtoken'
import Koa from 'koa'
import jwt from 'koa-jwt'
import koaWs, { accept, bearer } from 'koaws'

const secret = process.env.SECRET || randomBytes(32).toString('hex')
const ROOM = /^[\p{L}\p{N}_-]{1,30}$/u

const app = new Koa()
const hub = koaWs({ user: (ctx) => ctx.state.user?.sub }) // the user's id in the token
const router = new Router()
app.use(hub) // before the routes: from here on a WebSocket upgrade is a Koa request
app.use(router.routes())

// ---- Files

const file = (name) => async (ctx) => {
  ctx.set('Content-Security-Policy', "default-src 'self'; img-src 'self' data:")
  ctx.type = name.slice(name.lastIndexOf('.'))
  ctx.body = await readFile(new URL(`public/${name}`, import.meta.url))
}
const page = file('index.html')
router.get('/chat.js', file('chat.js'))
router.get('/chat.css', file('chat.css'))
router.get('/', (ctx) => ctx.redirect('/rooms/lobby'))

// ---- Login: a JSON Web Token in a cookie that scripts cannot read

router.get('/login', page)
router.post('/login', async (ctx) => {
  ctx.assert(ctx.request.length <= 1000, 413)
  const form = new URLSearchParams(await text(ctx.req))
  const name = form.get('name')?.trim() ?? ''
  const room = form.get('room') ?? ''
  ctx.assert(name.length >= 1 && name.length <= 20, 400, 'A name has 1 to 20 characters.')
  ctx.assert(ROOM.test(room), 400, 'A room has 1 to 30 letters, digits, - or _.')
  const token = jsonwebtoken.sign({ name }, secret, { subject: randomUUID(), expiresIn: '1h' })
  ctx.cookies.set('token', token, { httpOnly: true, sameSite: 'lax', maxAge: 60 * 60 * 1000 })
  ctx.status = 303
  ctx.redirect(`/rooms/${encodeURIComponent(room)}`)
})

// ---- Rooms: a page, and its WebSocket below the same path

router.param('room', (room, ctx, next) => (ROOM.test(room) ? next() : ctx.throw(404)))

router.get('/rooms/:room', jwt({ secret, cookie: 'token', passthrough: true }), (ctx, next) => {
  if (ctx.state.user) return page(ctx, next)
  ctx.redirect(`/login?room=${encodeURIComponent(ctx.params.room)}`)
})

router.get(
  '/rooms/:room/socket',
  bearer({ cookie: 'token' }), // the cookie becomes the Authorization header that koa-jwt reads
  jwt({ secret }), // without a login: 401, as for any request
  accept(chat, { maxPayload: 8 * 1024 }), // the connection ends with 4401 when the token does
)

function chat(connection, ctx) {
  const { room } = ctx.params
  const { sub: id, name } = ctx.state.user
  connection.join(room)
  connection.json({ type: 'welcome', id })
  broadcast(room, { type: 'members', members: members(room) })

  connection.on('message', (data, isBinary) => {
    const said = isBinary ? '' : data.toString().trim()
    if (said.length >= 1 && said.length <= 500) broadcast(room, { type: 'said', id, name, said })
    else connection.json({ type: 'error', text: 'A message has 1 to 500 characters.' })
  })
  connection.on('close', () => broadcast(room, { type: 'members', members: members(room) }))
}

/** Send to everybody in a room. */
function broadcast(room, message) {
  const json = JSON.stringify(message)
  for (const connection of hub.localConnections.values()) {
    if (connection.rooms.has(room)) connection.send(json)
  }
}

/** Who is in a room: a user with several tabs is there once. */
function members(room) {
  const names = new Map()
  for (const { rooms, userId, state } of hub.localConnections.values()) {
    if (rooms.has(room)) names.set(userId, state.user.name)
  }
  return [...names].map(([id, name]) => ({ id, name }))
}

// ---- Start and stop

const server = app.listen(Number(process.env.PORT || 3000), '127.0.0.1', () => {
  console.log(`Chat on http://127.0.0.1:${server.address().port}/`)
})
hub.attach(server) // so that close() knows the server even before its first request

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => hub.close({ server: true })) // after which the process ends by itself
}
