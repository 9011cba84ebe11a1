import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import { expect } from 'chai'
import type Koa from 'koa'
import jwt from 'koa-jwt'
import { accept, type BearerOptions, bearer } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import {
  acceptStatus,
  cleanUp,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  type Site,
  serve,
} from '../support/server.ts'

const { sign } = createRequire(import.meta.url)('jsonwebtoken')
const peer = createRequire(new URL('../peers/package.json', import.meta.url))
const secret = 'a secret for tests'
const token: string = sign({ sub: 'ann' }, secret, { expiresIn: '1h' })
const base64 = (text: string): string => Buffer.from(text).toString('base64url')

describe('bearer()', () => {
  afterEach(cleanUp)

  /** Serves a chain that sends the credentials and URLs that it sees. */
  async function site(options?: BearerOptions, koa?: object): Promise<Site> {
    return serve(
      (app) => {
        app.use(bearer(options))
        app.use((ctx, next) => {
          ctx.state['seen'] = [
            ctx.get('authorization'),
            ctx.url,
            ctx.originalUrl,
            ctx.href,
            JSON.stringify(ctx.headers),
          ]
          return next()
        })
        app.use(
          accept((connection, ctx) =>
            connection.json([...ctx.state['seen'], ctx.get('authorization')]),
          ),
        )
      },
      { attach: true, ...koa },
    )
  }

  async function seen(
    options: BearerOptions,
    path: string,
    client: Parameters<typeof openSocket>[2],
  ): Promise<string[]> {
    const { port } = await site(options)
    return (await (await openSocket(port, path, client)).nextJson()) as string[]
  }

  it('moves the token of an offered subprotocol into Authorization, for the chain behind it only', async () => {
    const result = await seen({}, '/', { protocols: ['chat', 'koaws.bearer.abc'] })
    expect(result[0]).to.equal('Bearer abc')
    expect(result[4]).to.not.include('abc')
    expect(result[5]).to.equal('')
  })

  it('decodes a subprotocol in base64url, for tokens with other characters', async () => {
    const result = await seen({}, '/', {
      protocols: ['chat', `koaws.bearer64.${base64('a=b/c==')}`],
    })
    expect(result[0]).to.equal('Bearer a=b/c==')
  })

  it('lifts a cookie and a query parameter only when they are named', async () => {
    expect((await seen({ cookie: 't' }, '/', { headers: { cookie: 't=abc' } }))[0]).to.equal(
      'Bearer abc',
    )
    expect((await seen({}, '/', { headers: { cookie: 't=abc' } }))[0]).to.equal('')
    for (const path of ['/x?a=1&t=abc&b=2', '/x?a=1&%74=abc&b=2', '/x?t=abc&a=1&t=abc&b=2']) {
      const [authorization, url, originalUrl, href] = await seen({ query: 't' }, path, {})
      expect(authorization, path).to.equal('Bearer abc')
      expect([url, originalUrl], path).to.deep.equal(['/x?a=1&b=2', '/x?a=1&b=2'])
      expect(href, path).to.not.include('abc')
    }
    expect((await seen({}, '/x?t=abc', {}))[1]).to.equal('/x?t=abc')
  })

  it('never replaces an Authorization header', async () => {
    const result = await seen({ cookie: 't' }, '/', {
      headers: { authorization: 'Bearer own', cookie: 't=own' },
    })
    expect(result[0]).to.equal('Bearer own')
  })

  const contradictions: [
    what: string,
    options: BearerOptions,
    path: string,
    headers: Record<string, string>,
  ][] = [
    [
      'tokens in header and subprotocol',
      {},
      '/',
      { Authorization: 'Bearer a', 'Sec-WebSocket-Protocol': 'x, koaws.bearer.b' },
    ],
    [
      'Basic credentials and a subprotocol',
      {},
      '/',
      { Authorization: 'Basic YTpi', 'Sec-WebSocket-Protocol': 'x, koaws.bearer.b' },
    ],
    [
      'tokens in subprotocol and cookie',
      { cookie: 't' },
      '/',
      { Cookie: 't=a', 'Sec-WebSocket-Protocol': 'x, koaws.bearer.b' },
    ],
    [
      'tokens in two subprotocols',
      {},
      '/',
      { 'Sec-WebSocket-Protocol': 'x, koaws.bearer.a, koaws.bearer.b' },
    ],
    ['two tokens in the query', { query: 't' }, '/?t=a&t=b', {}],
    ['an empty token', {}, '/', { 'Sec-WebSocket-Protocol': 'x, koaws.bearer.' }],
    [
      'control characters in base64',
      {},
      '/',
      { 'Sec-WebSocket-Protocol': `x, koaws.bearer64.${base64('a\r\nX: y')}` },
    ],
    ['bad base64', {}, '/', { 'Sec-WebSocket-Protocol': 'x, koaws.bearer64.~~' }],
    ['control characters in the query', { query: 't' }, '/?t=a%0d%0ab', {}],
  ]
  for (const [what, options, path, headers] of contradictions) {
    it(`answers 400 to ${what}`, async () => {
      const { port, errors } = await site(options)
      const client = await rawClient(port)
      client.write(handshake(path, headers))
      const { status } = await client.answer()
      expect(status).to.equal(400)
      expect(errors[0]?.error['code']).to.equal('ERR_KOAWS_BEARER')
    })
  }

  it('does nothing on plain HTTP', async () => {
    const { port } = await serve((app) =>
      app.use(bearer({ query: 't', cookie: 't' })).use((ctx) => {
        ctx.body = `${ctx.get('authorization')}|${ctx.url}`
      }),
    )
    const answer = await fetch(`http://127.0.0.1:${port}/?t=abc`, { headers: { cookie: 't=abc' } })
    expect(await answer.text()).to.equal('|/?t=abc')
  })

  it('in front of the plugin throws ERR_KOAWS_NOT_INSTALLED, at the first and at later upgrades', async () => {
    const { app, errors } = makeApp()
    app.use(bearer())
    app.use(makeHub())
    app.use(accept(() => {}))
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    for (let i = 0; i < 2; i++) expect((await rejected(openSocket(port))).status).to.equal(500)
    expect(errors.map(({ error }) => error['code'])).to.deep.equal([
      'ERR_KOAWS_NOT_INSTALLED',
      'ERR_KOAWS_NOT_INSTALLED',
    ])
    server.close()
  })

  it('hides the token from loggers, in any place and in any way of printing', async () => {
    const logged: string[] = []
    const log = (ctx: Koa.Context): void => {
      logged.push(
        JSON.stringify(ctx.headers),
        inspect(ctx.req.headers),
        inspect({ ...ctx.headers }),
        ctx.req.rawHeaders.join(),
      )
      logged.push(inspect(ctx.toJSON(), { depth: 5 }), ctx.url, ctx.originalUrl)
    }
    const logger: Koa.Middleware = async (ctx, next) => {
      ctx.res.once('finish', () => log(ctx))
      log(ctx)
      try {
        await next()
      } finally {
        log(ctx)
      }
    }
    const { port } = await serve(
      (app) => {
        app.use(logger)
        app.use(bearer())
        app.use(logger)
        app.use(jwt({ secret }))
        app.use(logger)
        app.use((ctx, next) => (ctx.path === '/no' ? ctx.throw(403) : next()))
        app.use(
          accept((connection, ctx) => {
            log(ctx as never)
            connection.send(ctx.state['user'].sub)
          }),
        )
      },
      { before: (app) => app.use(logger) },
    )
    for (let i = 0; i < 2; i++) {
      const socket = await openSocket(port, '/', { protocols: ['chat', `koaws.bearer.${token}`] })
      expect(await socket.next()).to.equal('ann')
      expect(socket.handshake['sec-websocket-protocol']).to.equal('chat')
    }
    expect(
      (await rejected(openSocket(port, '/no', { protocols: ['chat', `koaws.bearer.${token}`] })))
        .status,
    ).to.equal(403)
    expect(logged.length).to.be.above(50)
    expect(logged.filter((line) => line.includes(token))).to.deep.equal([])
  })

  it('gives GET and upgrade the same answer for every Authorization header and spelling of a path', async () => {
    const { port } = await serve((app) => {
      app.use(bearer())
      app.use(jwt({ secret }).unless({ path: ['/public'] }))
      app.use((ctx) => {
        if (ctx.path.startsWith('/admin')) ctx.throw(403)
        if (ctx.ws) ctx.ws(() => {})
        else ctx.body = 'fine'
      })
    })
    const expired = sign({ sub: 'ann' }, secret, { expiresIn: -10 })
    const early = sign({ sub: 'ann' }, secret, { notBefore: 3600 })
    const foreign = sign({ sub: 'ann' }, 'another secret')
    const credentials = [
      '',
      `Bearer ${token}`,
      `bearer ${token}`,
      `Token ${token}`,
      'Bearer',
      `Bearer ${expired}`,
      `Bearer ${early}`,
      `Bearer ${foreign}`,
      'Bearer x.y.z',
      'Basic YTpi',
    ]
    const paths = [
      '/',
      '/public',
      '/public/',
      '//public',
      '/PUBLIC',
      '/%70ublic',
      '/admin',
      '/admin/x',
      '/%61dmin',
      '/x/../admin',
      '/public?x',
      '/public;x',
    ]
    for (const path of paths) {
      for (const authorization of credentials) {
        const headers = authorization ? { Authorization: authorization } : {}
        const get = await rawClient(port)
        get.write(
          `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${authorization ? `Authorization: ${authorization}\r\n` : ''}\r\n`,
        )
        const upgrade = await rawClient(port)
        upgrade.write(handshake(path, headers))
        const [plain, upgraded] = [await get.answer(), await upgrade.answer()]
        const refused = path.startsWith('//') && acceptStatus() === 200 // HTTP/2 is stricter
        const expected = refused ? 400 : plain.status === 200 ? 101 : plain.status
        expect(upgraded.status, `${path} with ${authorization}`).to.equal(expected)
        get.socket.destroy()
        upgrade.socket.destroy()
      }
    }
  })

  it('lets koa-passport decide over an upgrade', async () => {
    const passport = new (peer('koa-passport').KoaPassport)()
    const { Strategy } = peer('passport-http-bearer')
    passport.use(
      new Strategy((given: string, done: (error: null, user: unknown) => void) =>
        done(null, given === 'good' && { id: 7 }),
      ),
    )
    const { port } = await serve(
      (app) => {
        app.use(bearer())
        app.use(passport.initialize())
        app.use(passport.authenticate('bearer', { session: false }))
        app.use(accept((connection) => connection.send(String(connection.userId))))
      },
      { user: (ctx) => ctx.state['user']?.id },
    )
    for (let i = 0; i < 2; i++) {
      const socket = await openSocket(port, '/', { protocols: ['chat', 'koaws.bearer.good'] })
      expect(await socket.next()).to.equal('7')
      const { status, headers } = await rejected(
        openSocket(port, '/', { protocols: ['chat', 'koaws.bearer.bad'] }),
      )
      expect(status).to.equal(401)
      expect(headers['www-authenticate']).to.include('Bearer')
    }
  })

  const two: [string, BearerOptions, Record<string, string | string[]>][] = [
    ['two cookies of one name', { cookie: 'token' }, { Cookie: 'token=a; other=1; token=b' }],
    ['two lines of cookies', { cookie: 'token' }, { Cookie: ['token=a', 'token=b'] }],
    ['two Authorization headers @http1', {}, { Authorization: ['Bearer a', 'Bearer b'] }],
    ['Authorization of two schemes @http1', {}, { Authorization: ['Bearer a', 'Basic b'] }],
  ]
  for (const [what, options, headers] of two) {
    it(`answers 400 to ${what} with different tokens`, async () => {
      const { port } = await site(options)
      const client = await rawClient(port)
      client.write(handshake('/', headers))
      expect((await client.answer()).status).to.equal(400)
    })
  }

  // An HTTP/2 client cannot send two Authorization headers.
  for (const [how, headers] of [
    ['cookie', { Cookie: 'token=a; token=a' }],
    ['header @http1', { Authorization: ['Bearer a', 'Bearer a'] }],
  ] as [string, Record<string, string | string[]>][]) {
    it(`accepts the same token twice in a ${how}`, async () => {
      const { port } = await site({ cookie: 'token' })
      const client = await rawClient(port)
      client.write(handshake('/', headers))
      expect((await client.answer()).status).to.equal(101)
    })
  }

  it('removes the token from the URL that Express keeps', async () => {
    let kept: unknown
    const { port } = await serve(
      (app) => {
        app.use((ctx, next) => {
          Object.assign(ctx.req, { originalUrl: ctx.req.url })
          return next()
        })
        app.use(bearer({ query: 'token' }))
        app.use(
          accept((connection) => {
            connection.send('in')
          }),
        )
        app.use(() => {})
      },
      {
        attach: true,
        before: (app) =>
          void app.use(async (ctx, next) => {
            const { req } = ctx
            await next()
            kept = (req as { originalUrl?: unknown }).originalUrl
          }),
      },
    )
    await (await openSocket(port, '/?token=very-secret&a=1')).next()
    expect(kept).to.equal('/?a=1')
  })
})
