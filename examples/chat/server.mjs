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
const ROOMS = ['lobby', 'kitchen', 'garden', 'workshop']

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
  ctx.assert(ROOMS.includes(room), 400, 'There is no such room.')
  const token = jsonwebtoken.sign({ name }, secret, { subject: randomUUID(), expiresIn: '1h' })
  ctx.cookies.set('token', token, { httpOnly: true, sameSite: 'lax', maxAge: 60 * 60 * 1000 })
  ctx.status = 303
  ctx.redirect(`/rooms/${room}`)
})

router.post('/logout', jwt({ secret, cookie: 'token' }), async (ctx) => {
  ctx.cookies.set('token', null)
  await ctx.hub.user(ctx.state.user.sub).close(4401, 'logged out') // all tabs of this user
  ctx.status = 204
})

// ---- Rooms: a page, and its WebSocket below the same path

router.param('room', (room, ctx, next) => (ROOMS.includes(room) ? next() : ctx.throw(404)))

router.get('/rooms/:room', jwt({ secret, cookie: 'token', passthrough: true }), (ctx, next) => {
  if (ctx.state.user) return page(ctx, next)
  ctx.redirect(`/login?room=${ctx.params.room}`)
})

router.get(
  '/rooms/:room/socket',
  bearer({ cookie: 'token' }), // the cookie becomes the Authorization header that koa-jwt reads
  jwt({ secret }), // without a login: 401, as for any request
  // The connection is in its room from the start, and ends with 4401 when the token does.
  accept(chat, { rooms: (ctx) => [ctx.params.room], maxPayload: 8 * 1024 }),
)

function chat(connection, ctx) {
  const { room } = ctx.params
  const { sub: id, name } = ctx.state.user
  connection.json({ type: 'welcome', id })
  void tellWhoIsThere(room)
  connection.on('close', () => tellWhoIsThere(room))

  connection.on('message', (data) => {
    const message = parse(data)
    if (message?.type === 'say') say(message)
    else if (message?.type === 'typing') connection.to(room).volatile().json({ type: 'typing', id })
    else connection.json({ type: 'error', text: 'This is no message of the chat.' })
  })

  function say({ text, to }) {
    const said = String(text ?? '').trim()
    if (said.length < 1 || said.length > 500) {
      connection.json({ type: 'error', text: 'A message has 1 to 500 characters.' })
    } else if (!to) {
      hub.room(room).json({ type: 'said', id, name, said })
    } else {
      const other = [...hub.localConnections.values()].find(({ userId }) => userId === to)
      if (!other) connection.json({ type: 'error', text: 'This person is not here any more.' })
      // All tabs of both, whatever room they show; each once, also where both are the same.
      else hub.user(id, to).json({ type: 'said', id, name, said, to: other.state.user.name })
    }
  }
}

function parse(data) {
  try {
    return JSON.parse(data)
  } catch {
    return null
  }
}

/** To the room who is in it; to everybody how many connections each room has. */
async function tellWhoIsThere(room) {
  hub.room(room).json({ type: 'members', members: members(room) })
  const counts = await Promise.all(ROOMS.map((name) => hub.room(name).count()))
  hub.all().json({ type: 'rooms', rooms: ROOMS.map((name, i) => ({ name, count: counts[i] })) })
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
hub.attach(server) // so that it is closed even when no request came before
hub.closeOnSignal()
