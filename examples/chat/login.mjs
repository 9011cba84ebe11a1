// Logging in and out: a JSON Web Token in a cookie that scripts cannot read.
import { randomBytes, randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import Router from '@koa/router'
import jsonwebtoken from 'jsonwebtoken'
import jwt from 'koa-jwt'
import { loginPage } from './files.mjs'
import { ROOMS } from './rooms.mjs'

const secret = process.env.SECRET || randomBytes(32).toString('hex')
const HOUR = 60 * 60 * 1000

/** Rejects with 401 without a valid token in the Authorization header. */
export const authenticated = jwt({ secret })

/** Rejects with 401 without a valid token in the cookie. */
export const loggedIn = jwt({ secret, cookie: 'token' })

/** Sets `ctx.state.user` if the user is logged in. */
export const recognised = jwt({ secret, cookie: 'token', passthrough: true })

export const login = new Router()

login.get('/login', loginPage)

login.post('/login', async (ctx) => {
  ctx.assert(ctx.request.length <= 1000, 413)
  const form = new URLSearchParams(await text(ctx.req))
  const name = form.get('name')?.trim() ?? ''
  const room = form.get('room') ?? ''
  ctx.assert(name.length >= 1 && name.length <= 20, 400, 'A name has 1 to 20 characters.')
  ctx.assert(ROOMS.includes(room), 400, 'There is no such room.')
  const token = jsonwebtoken.sign({ name }, secret, { subject: randomUUID(), expiresIn: '1h' })
  ctx.cookies.set('token', token, { httpOnly: true, sameSite: 'lax', maxAge: HOUR })
  ctx.status = 303
  ctx.redirect(`/rooms/${room}`)
})

login.post('/logout', loggedIn, async (ctx) => {
  ctx.cookies.set('token', null)
  await ctx.hub.user(ctx.state.user.sub).close(4401, 'logged out') // all tabs of this user
  ctx.status = 204
})
