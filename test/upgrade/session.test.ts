import { expect } from 'chai'
import session from 'koa-session'
import { accept } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { acceptStatus, cleanUp, serve } from '../support/server.ts'

describe('a session', () => {
  afterEach(cleanUp)

  it('gives GET and upgrade the same answer for every cookie and spelling of a path', async () => {
    const { port } = await serve(
      (app) => {
        app.use(session({ maxAge: 60_000 }, app))
        app.use((ctx, next) => {
          if (ctx.path === '/login') {
            ctx['session'].user = 'ann'
            ctx.body = 'in'
            return undefined
          }
          if (!ctx['session'].user) ctx.throw(401)
          if (ctx.path.startsWith('/admin')) ctx.throw(403)
          return next()
        })
        app.use((ctx, next) => {
          if (ctx.ws) return next()
          ctx.body = ctx['session'].user
          return undefined
        })
        app.use(accept((connection, ctx) => connection.send(ctx['session'].user)))
      },
      { koa: { keys: ['secret'] } },
    )
    const login = await fetch(`http://127.0.0.1:${port}/login`)
    const [value, signature] = login.headers
      .getSetCookie()
      .map((one) => one.split(';')[0] as string)
    const cookies: Record<string, string> = {
      none: '',
      right: `${value}; ${signature}`,
      unsigned: String(value),
      'of another signature': `${value}; koa.sess.sig=AAAAAAAAAAAAAAAAAAAAAAAAAAA`,
      tampered: `koa.sess=${Buffer.from('{"user":"root"}').toString('base64')}; ${signature}`,
      twice: `${value}; ${value}; ${signature}`,
      garbage: 'koa.sess=%zz; koa.sess.sig=%',
    }
    const expected: Record<string, number> = { right: 200, twice: 200 }
    for (const [what, cookie] of Object.entries(cookies)) {
      for (const path of ['/', '/room', '//room', '/admin', '/%61dmin', '/admin/', '/ROOM?x=1']) {
        const headers = cookie ? { Cookie: cookie } : {}
        const get = await rawClient(port)
        get.write(
          `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${cookie ? `Cookie: ${cookie}\r\n` : ''}\r\n`,
        )
        const upgrade = await rawClient(port)
        upgrade.write(handshake(path, headers))
        const [plain, upgraded] = [await get.answer(), await upgrade.answer()]
        const refused = path.startsWith('//') && acceptStatus() === 200 // HTTP/2 is stricter
        expect(upgraded.status, `${what} ${path}`).to.equal(
          refused ? 400 : plain.status === 200 ? 101 : plain.status,
        )
        if (!path.includes('dmin'))
          expect(plain.status, `${what} ${path}`).to.equal(expected[what] ?? 401)
        if (upgraded.status === 101) expect(await upgrade.textFrame()).to.equal('ann')
        get.socket.destroy()
        upgrade.socket.destroy()
      }
    }
  })
})
