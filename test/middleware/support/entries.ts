import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import Router from '@koa/router'
import { expect } from 'chai'
import type Koa from 'koa'
import compose from 'koa-compose'
import { accept } from '../../../lib/index.ts'
import { closeSocket, echo, nextText, openSocket, plainGet, rawUpgrade } from './client.ts'
import type { Entry, Host, Routed, Tools } from './entry.ts'

const load = createRequire(new URL('../../peers/package.json', import.meta.url))
const PUBLIC = fileURLToPath(new URL('public', import.meta.url))
const PEERS = fileURLToPath(new URL('../../peers', import.meta.url))

/** Sends the parameter `room` of its route. */
const tellRoom = accept((connection, ctx) => connection.send(ctx.params['room'] ?? 'none'))

const paramsReachTheHandler = {
  title: 'the handler reads the parameters of the route from ctx and from the connection',
  run: async ({ port }: Host) => {
    const opened = await openSocket(port, '/rooms/lobby')
    expect(await nextText(opened)).to.equal('lobby')
    await closeSocket(opened)
  },
}

/** Both routers have the same interface here. */
function withRouter(router: Router, { app, hub, place, routes }: Routed): void {
  if (hub && place === 'before') router.use(hub)
  else if (hub) app.use(hub)
  for (const [path, route] of routes) router.get(path, (ctx) => route(ctx) as Promise<void>)
  router.get('/rooms/:room', tellRoom as never)
  router.post('/posted', (ctx) => {
    ctx.body = 'posted'
  })
  app.use(router.routes() as unknown as Koa.Middleware)
  app.use(router.allowedMethods() as unknown as Koa.Middleware)
}

const wrongMethodIsRefused = {
  title: 'an upgrade of a route for POST gets 405 and Allow',
  run: async ({ port }: Host) => {
    const { status, headers } = await rawUpgrade(port, '/posted')
    expect(status).to.equal(405)
    expect(headers['allow']).to.equal('POST')
  },
}

/** The cookies of an answer, as a client sends them back. */
function cookiesOf(headers: { 'set-cookie'?: string[] | undefined }): string {
  return (headers['set-cookie'] ?? []).map((cookie) => cookie.split(';', 1)[0]).join('; ')
}

const visit =
  (sessionOf: (ctx: Koa.Context) => Visits | undefined) =>
  (ctx: Koa.Context): void => {
    const session = sessionOf(ctx)
    if (session) session.visits = 1
  }

/** The second visit does not change the session; a rolling cookie is sent again regardless. */
const rollingCookie = {
  title: 'a rolling cookie is on the 101 of a client that has it already',
  run: async ({ port }: Host) => {
    const first = await openSocket(port, '/accept')
    const cookie = cookiesOf(first.headers)
    expect(cookie).to.match(/sess|sid/)
    await closeSocket(first)
    const second = await openSocket(port, '/accept', { cookie })
    expect(cookiesOf(second.headers)).to.match(/sess|sid/)
    expect(await echo(second, 'rolled')).to.equal('rolled')
    await closeSocket(second)
  },
}

const sessionIsSaved = {
  title: 'the next request finds what the chain of an upgrade wrote into the session',
  run: async ({ port }: Host) => {
    const opened = await openSocket(port, '/accept')
    const cookie = cookiesOf(opened.headers)
    await closeSocket(opened)
    expect((await plainGet(port, '/visits', { cookie })).body).to.equal('visits: 1')
  },
}

interface Visits {
  visits?: number
}

/** Answers with the visits in the session. */
function answerVisits(sessionOf: (ctx: Koa.Context) => Visits | undefined): Koa.Middleware {
  return (ctx, next) => {
    if (ctx.path !== '/visits') return next()
    ctx.body = `visits: ${sessionOf(ctx)?.visits ?? 0}`
  }
}

const koaSession = (ctx: Koa.Context): Visits | undefined => ctx['session'] as Visits | undefined
const expressSession = (ctx: Koa.Context): Visits | undefined =>
  (ctx.req as { session?: Visits }).session

const refusedWithout = (what: string, challenge: RegExp | null) => ({
  title: `without ${what} the upgrade gets 401${challenge ? ' and WWW-Authenticate' : ''}`,
  run: async ({ port }: Host) => {
    const { status, headers } = await rawUpgrade(port, '/accept')
    expect(status).to.equal(401)
    if (challenge) expect(headers['www-authenticate']).to.match(challenge)
  },
})

/** Starts a server that middleware forwards to. */
async function startTarget({ onStop }: Tools): Promise<number> {
  const target = createServer((_req, res) => res.end('from the target'))
  target.listen(0, '127.0.0.1')
  await once(target, 'listening')
  onStop(async () => {
    target.closeAllConnections()
    await new Promise((resolve) => target.close(resolve))
  })
  return (target.address() as AddressInfo).port
}

const targetAnswersHttp = {
  title:
    'an upgrade of its path is forwarded as plain HTTP, so the client gets the answer of the target',
  run: async ({ port }: Host) => {
    const { status, body } = await rawUpgrade(port, '/proxied')
    expect(status).to.equal(200)
    expect(String(body)).to.equal('from the target')
  },
}

const postIsParsed = {
  title: 'the body of a POST is still parsed',
  run: async ({ port }: Host) => {
    const response = await fetch(`http://127.0.0.1:${port}/posted`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"some":"value"}',
    })
    expect(await response.json()).to.deep.equal({ some: 'value' })
  },
}

/** Answers a POST with the parsed body. */
const answerParsed: Koa.Middleware = (ctx, next) => {
  if (ctx.path !== '/posted') return next()
  ctx.body = (ctx.request as { body?: unknown }).body
}

/** A stream that logs each chunk, for loggers that write to a stream. */
function lines({ log }: Tools): Writable {
  return new Writable({
    write: (chunk, _encoding, done) => {
      log(String(chunk))
      done()
    },
  })
}

const secret = 'a secret of the tests'
const token: string = load('jsonwebtoken').sign({ sub: '7' }, secret, { expiresIn: '1h' })

export const entries: readonly Entry[] = [
  {
    name: '@koa/router',
    tier: 1,
    routed: (routed) => withRouter(new Router(), routed),
    specials: [paramsReachTheHandler, wrongMethodIsRefused],
    note: 'The plugin stands before `router.routes()`, or in the router by `router.use()`. Parameters reach the handler.',
  },
  {
    name: 'koa-router',
    tier: 1,
    routed: (routed) => withRouter(new (load('koa-router'))(), routed),
    specials: [paramsReachTheHandler, wrongMethodIsRefused],
    note: 'As @koa/router.',
  },
  {
    name: 'koa-route',
    tier: 2,
    routed: ({ app, hub, place, routes }) => {
      const { get } = load('koa-route')
      const plugin = hub && place === 'before' ? hub : undefined
      if (hub && !plugin) app.use(hub)
      for (const [path, route] of routes) {
        const run = plugin
          ? compose([plugin, (ctx) => route(ctx as never) as Promise<void>])
          : route
        app.use(get(path, (ctx: Koa.Context) => run(ctx as never, async () => {})))
      }
      const tell = accept((connection, ctx) => connection.send(String(ctx.state['room'])))
      const room = plugin ? compose([plugin, tell as Koa.Middleware]) : tell
      app.use(
        get('/rooms/:room', (ctx: Koa.Context, name: string, next: Koa.Next) => {
          ctx.state['room'] = name
          return room(ctx as never, next)
        }),
      )
    },
    specials: [
      {
        ...paramsReachTheHandler,
        title:
          'the parameters of the route, given as arguments, can be left in ctx.state for the handler',
      },
    ],
    note: 'Parameters are arguments of the route, not in `ctx.params`.',
  },
  {
    name: 'koa-mount',
    tier: 1,
    prefix: '/app',
    routed: ({ app, hub, place, routes, dispatch }) => {
      const Application = app.constructor as new () => Koa
      const mounted = new Application()
      if (hub && place === 'after') app.use(hub)
      else if (hub) mounted.use(hub)
      const path = accept((connection, ctx) => connection.send(`${ctx.path} ${connection.path}`))
      mounted.use((ctx, next) => (ctx.path === '/path' ? path(ctx as never, next) : next()))
      mounted.use(async (ctx, next) => {
        if (ctx.path !== '/path-inside') return next()
        const connection = await ctx.ws?.()
        connection?.send(`${connection.path}`)
      })
      mounted.use(dispatch)
      expect(routes).to.have.property('size').above(0)
      app.use(load('koa-mount')('/app', mounted))
    },
    specials: [
      {
        title: 'a handler after the chain sees the full path, because koa-mount restores it',
        run: async ({ port }) => {
          const opened = await openSocket(port, '/app/path')
          expect(await nextText(opened)).to.equal('/app/path /app/path')
          await closeSocket(opened)
        },
      },
      {
        title: 'connection.path of an accept inside the chain is the full path',
        run: async ({ port }) => {
          const opened = await openSocket(port, '/app/path-inside')
          expect(await nextText(opened)).to.equal('/app/path-inside')
          await closeSocket(opened)
        },
      },
    ],
    note: 'The plugin may stand in the outer or in the mounted app. koa-mount restores `ctx.path`: a handler after the chain sees the full path.',
  },
  {
    name: 'koa-compose',
    tier: 2,
    routed: ({ app, hub, place, dispatch }) => {
      const first: Koa.Middleware = async (ctx, next) => {
        await next()
        ctx.set('x-composed', 'yes')
      }
      if (hub && place === 'after') app.use(hub)
      const plugin = hub && place === 'before' ? [hub] : []
      app.use(load('koa-compose')([first, ...plugin, dispatch]))
    },
    on101: { 'x-composed': /^yes$/ },
  },
  {
    name: 'koa-convert',
    tier: 2,
    use: (app) => {
      app.use(
        load('koa-convert')(function* (this: Koa.Context, next: unknown) {
          this.set('x-generator', 'before')
          yield next
          this.set('x-generator-after', 'after')
        }),
      )
    },
    on101: { 'x-generator': /^before$/, 'x-generator-after': /^after$/ },
    note: 'Generator middleware works, headers after `yield next` included.',
  },
  {
    name: '@koa/cors',
    tier: 1,
    use: (app) => {
      app.use(load('@koa/cors')({ credentials: true }))
    },
    headers: async ({ port }) => ({ origin: `http://127.0.0.1:${port}` }),
    on101: { 'access-control-allow-origin': /^http:/, vary: /Origin/ },
    rejected: { headers: { 'access-control-allow-origin': /^http:/ } },
    specials: [
      {
        title: 'a foreign origin is refused by koaws with 403, not by CORS',
        run: async ({ port }) => {
          const { status } = await rawUpgrade(port, '/accept', {
            origin: 'https://elsewhere.example',
          })
          expect(status).to.equal(403)
        },
      },
    ],
    note: 'CORS never blocks a WebSocket: the option `origin` of koaws does.',
  },
  {
    name: 'koa-helmet',
    tier: 1,
    use: (app) => {
      app.use(load('koa-helmet')())
    },
    on101: {
      'strict-transport-security': /max-age/,
      'x-content-type-options': /nosniff/,
      'x-frame-options': /SAMEORIGIN/,
    },
    note: 'Its headers on a 101 do no harm. Content-Security-Policy is not among them: what describes a body is not copied.',
  },
  {
    name: 'koa-bodyparser',
    tier: 1,
    use: (app) => {
      app.use(load('koa-bodyparser')()).use(answerParsed)
    },
    specials: [postIsParsed],
    note: 'An upgrade has no body, and koaws rejects a declared body.',
  },
  {
    name: '@koa/bodyparser',
    tier: 1,
    use: (app) => {
      app.use(load('@koa/bodyparser').bodyParser()).use(answerParsed)
    },
    specials: [postIsParsed],
    note: 'As koa-bodyparser.',
  },
  {
    name: 'koa-body',
    tier: 2,
    use: (app) => {
      app.use(load('koa-body').koaBody()).use(answerParsed)
    },
    specials: [postIsParsed],
    note: 'As koa-bodyparser.',
  },
  {
    name: 'koa-session',
    tier: 1,
    use: (app) => {
      app.use(load('koa-session').createSession({ rolling: true }, app))
      app.use(answerVisits(koaSession))
    },
    touch: visit(koaSession),
    on101: { 'set-cookie': /koa\.sess=.*koa\.sess\.sig=/s },
    specials: [rollingCookie, sessionIsSaved],
    note: 'New and rolling cookies are on the 101 with `accept(handler)`; not with an accept inside. A change after the 101 is not saved.',
  },
  {
    name: 'koa-generic-session',
    variant: 'memory store',
    tier: 2,
    use: (app) => {
      app.use(load('koa-generic-session')({ rolling: true }))
      app.use(answerVisits(koaSession))
    },
    touch: visit(koaSession),
    on101: { 'set-cookie': /koa\.sid=.*koa\.sid\.sig=/s },
    specials: [rollingCookie, sessionIsSaved],
    note: 'As koa-session.',
  },
  {
    name: 'koa-passport',
    variant: 'bearer',
    tier: 2,
    use: (app) => {
      const { KoaPassport } = load('koa-passport')
      const { Strategy } = load('passport-http-bearer')
      const passport = new KoaPassport()
      type Done = (error: null, user: object | false) => void
      passport.use(
        new Strategy((given: string, done: Done) => done(null, given === 'good' && { id: '7' })),
      )
      app.use(passport.initialize())
      app.use(passport.authenticate('bearer', { session: false }))
    },
    headers: { authorization: 'Bearer good' },
    specials: [refusedWithout('a token', /^Bearer/)],
    note: 'Browsers cannot send the header: `bearer()` of koaws lifts a token into it.',
  },
  {
    name: 'koa-passport',
    variant: 'session',
    tier: 2,
    use: (app) => {
      const { KoaPassport } = load('koa-passport')
      const passport = new KoaPassport()
      type Done = (error: null, value: unknown) => void
      passport.serializeUser((user: { id: string }, done: Done) => done(null, user.id))
      passport.deserializeUser((id: string, done: Done) => done(null, { id }))
      app.use(load('koa-session').createSession({}, app))
      app.use(passport.initialize())
      app.use(passport.session())
      app.use(async (ctx, next) => {
        if (ctx.path === '/login') {
          await ctx['login']({ id: '7' })
          ctx.body = 'welcome'
        } else if (ctx['isUnauthenticated']()) ctx.throw(401, 'log in')
        else await next()
      })
    },
    headers: async ({ port }) => ({ cookie: cookiesOf((await plainGet(port, '/login')).headers) }),
    specials: [refusedWithout('a session', null)],
    note: 'The login of the session counts for the upgrade.',
  },
  {
    name: 'koa-jwt',
    tier: 1,
    use: (app) => {
      app.use(load('koa-jwt')({ secret }))
    },
    headers: { authorization: `Bearer ${token}` },
    specials: [refusedWithout('a token', null)],
    note: 'Browsers cannot send the header: `bearer()` of koaws lifts a token into it. The socket ends with the token (4401).',
  },
  {
    name: 'koa-basic-auth',
    tier: 2,
    use: (app) => {
      app.use(load('koa-basic-auth')({ name: 'ada', pass: 'pass' }))
    },
    headers: { authorization: `Basic ${Buffer.from('ada:pass').toString('base64')}` },
    specials: [refusedWithout('credentials', /^Basic realm=/)],
  },
  {
    name: 'koa-ratelimit',
    variant: 'memory',
    tier: 1,
    use: (app) => {
      app.use(load('koa-ratelimit')({ driver: 'memory', db: new Map(), max: 4 }))
    },
    on101: { 'x-ratelimit-limit': /^4$/, 'x-ratelimit-remaining': /^[0-3]$/ },
    specials: [
      {
        title: 'above the limit the upgrade gets 429 with the body of koa-ratelimit',
        run: async ({ port }) => {
          for (let i = 0; i < 4; i++) await closeSocket(await openSocket(port, '/accept'))
          const { status, body } = await rawUpgrade(port, '/accept')
          expect(status).to.equal(429)
          expect(String(body)).to.match(/^Rate limit exceeded/)
        },
      },
    ],
    note: 'Limits handshakes, not messages.',
  },
  {
    name: 'koa-logger',
    tier: 1,
    use: (app, { log }) => {
      app.use(load('koa-logger')((text: string) => log(text)))
    },
    prints: [/-->.*GET.*\/accept.*101/],
    note: 'Prints the 101 when the handshake is done.',
  },
  {
    name: 'koa-pino-logger',
    tier: 2,
    use: (app, tools) => {
      app.use(load('koa-pino-logger')({}, lines(tools)))
    },
    prints: [/"url":"\/accept".*"statusCode":101.*"request completed"/],
    note: 'Prints the 101 when the handshake is done.',
  },
  {
    name: 'koa-morgan',
    tier: 2,
    use: (app, tools) => {
      app.use(load('koa-morgan')('tiny', { stream: lines(tools) }))
    },
    prints: [/GET \/accept 101/],
    note: 'Prints the 101 when the handshake is done.',
  },
  {
    name: 'koa-response-time',
    tier: 2,
    use: (app) => {
      app.use(load('koa-response-time')())
    },
    on101: { 'x-response-time': /^\d+ms$/ },
    note: 'Set after the chain: not on the 101 of an accept inside.',
  },
  {
    name: 'koa-requestid',
    tier: 2,
    use: (app) => {
      app.use(load('koa-requestid')())
    },
    on101: { 'request-id': /^[0-9a-f-]{36}$/ },
  },
  {
    name: 'koa-compress',
    tier: 1,
    use: (app) => {
      app.use(load('koa-compress')())
    },
    headers: { 'accept-encoding': 'gzip' },
    streamed: { headers: { 'content-encoding': /^gzip$/ } },
    note: 'Compresses rejections. Messages: option `perMessageDeflate` of koaws.',
  },
  {
    name: 'koa-etag',
    variant: 'with koa-conditional-get',
    tier: 2,
    use: (app) => {
      app.use(load('koa-conditional-get')()).use(load('koa-etag').default())
    },
    note: 'Acts on 2xx only.',
  },
  {
    name: 'koa-static',
    tier: 1,
    use: (app) => {
      app.use(load('koa-static')(PUBLIC))
    },
    specials: [
      {
        title: 'an upgrade of `/` gets the 200 of index.html, because koa-static answers first',
        run: async ({ port }) => {
          const { status, body } = await rawUpgrade(port, '/')
          expect(status).to.equal(200)
          expect(String(body)).to.include('the home page')
        },
      },
    ],
    note: 'Answers an upgrade of `/` with index.html where it stands before the route: give sockets a path of their own, or use `defer: true`.',
  },
  {
    name: 'koa-send',
    tier: 2,
    use: (app) => {
      const send = load('koa-send')
      app.use(async (ctx, next) => {
        if (ctx.path !== '/file') return next()
        ctx.status = 403
        return send(ctx, 'package-lock.json', { root: PEERS })
      })
    },
    specials: [
      {
        title: 'a file as the body of a rejection arrives complete',
        run: async ({ port }) => {
          const { status, headers, body } = await rawUpgrade(port, '/file')
          expect(status).to.equal(403)
          expect(body).to.have.length(Number(headers['content-length']))
          expect(body.length).to.be.above(100_000)
        },
      },
    ],
  },
  {
    name: '@ladjs/koa-views',
    tier: 2,
    use: (app) => {
      app.use(load('@ladjs/koa-views')(PUBLIC))
      app.use(async (ctx, next) => {
        if (ctx.path !== '/page') return next()
        ctx.status = 403
        await ctx['render']('page')
      })
    },
    specials: [
      {
        title: 'a rendered page as the body of a rejection arrives complete',
        run: async ({ port }) => {
          const { status, body } = await rawUpgrade(port, '/page')
          expect(status).to.equal(403)
          expect(String(body)).to.include('a rendered page')
        },
      },
    ],
    note: 'Adds `ctx.render` only.',
  },
  {
    name: 'koa-json',
    tier: 2,
    use: (app) => {
      app.use(load('koa-json')())
      app.use((ctx, next) => {
        if (ctx.path !== '/object') return next()
        ctx.status = 403
        ctx.body = { refused: true }
      })
    },
    specials: [
      {
        title: 'an object as the body of a rejection arrives with indentation',
        run: async ({ port }) => {
          const { status, body } = await rawUpgrade(port, '/object')
          expect(status).to.equal(403)
          expect(String(body)).to.equal('{\n  "refused": true\n}')
        },
      },
    ],
  },
  {
    name: 'koa-json-error',
    tier: 2,
    use: (app) => {
      app.use(load('koa-json-error')())
    },
    rejected: { headers: { 'content-type': /json/ }, body: /"message":"no entry"/ },
    notFound: { headers: { 'content-type': /json/ }, body: /"status":404/ },
    note: 'Rejections become JSON.',
  },
  {
    name: 'koa-onerror',
    tier: 2,
    use: (app) => {
      load('koa-onerror').onerror(app)
    },
    headers: { accept: 'application/json' },
    rejected: { headers: { 'content-type': /json/ }, body: /"error":"no entry"/ },
    note: 'It replaces `ctx.onerror`: rejections are formatted by it.',
  },
  {
    name: 'koa-csrf',
    variant: 'with koa-session',
    tier: 2,
    use: (app) => {
      app.use(load('koa-session').createSession({}, app))
      app.use(load('koa-bodyparser')())
      app.use(load('koa-csrf')())
    },
    on101: { 'set-cookie': /koa\.sess=/ },
    specials: [
      {
        title: 'an upgrade needs no token, because it is a GET; a POST needs one',
        run: async ({ port }) => {
          await closeSocket(await openSocket(port, '/accept'))
          const posted = await fetch(`http://127.0.0.1:${port}/accept`, { method: 'POST' })
          expect(posted.status).to.equal(403)
          await posted.text()
        },
      },
    ],
    note: 'GET is exempt, so it does not protect sockets: the option `origin` of koaws does.',
  },
  {
    name: 'koa-connect',
    variant: 'with express-session',
    tier: 2,
    use: (app, { onStop }) => {
      const session = load('express-session')
      const store = new session.MemoryStore()
      const options = { secret, resave: false, saveUninitialized: false, rolling: true, store }
      app.use(load('koa-connect')(session(options)))
      app.use(answerVisits(expressSession))
      onStop(async () => store.clear())
    },
    touch: visit(expressSession),
    on101: { 'set-cookie': /connect\.sid=/ },
    specials: [rollingCookie, sessionIsSaved],
    note: 'Hooks of connect middleware on `res.writeHead` and `res.end` run.',
  },
  {
    name: 'koa-sslify',
    tier: 2,
    use: (app) => {
      const sslify = load('koa-sslify')
      app.use(sslify.default({ resolver: sslify.xForwardedProtoResolver }))
    },
    headers: { 'x-forwarded-proto': 'https' },
    specials: [
      {
        title: 'an upgrade over plain http gets the 301 to https',
        run: async ({ port }) => {
          const { status, headers } = await rawUpgrade(port, '/accept')
          expect(status).to.equal(301)
          expect(headers['location']).to.match(/^https:.*\/accept$/)
        },
      },
    ],
    note: 'Plain http gets 301, which WebSocket clients do not follow. Behind a proxy use its `xForwardedProtoResolver`.',
  },
  {
    name: 'koa-proxies',
    tier: 2,
    use: async (app, tools) => {
      const port = await startTarget(tools)
      app.use(load('koa-proxies')('/proxied', { target: `http://127.0.0.1:${port}` }))
    },
    specials: [targetAnswersHttp],
    note: 'Forwards an upgrade of its path as plain HTTP. To proxy sockets use http-proxy beside koaws.',
  },
  {
    name: 'koa-better-http-proxy',
    tier: 2,
    use: async (app, tools) => {
      const port = await startTarget(tools)
      const filter = (ctx: Koa.Context): boolean => ctx.path === '/proxied'
      app.use(load('koa-better-http-proxy')('127.0.0.1', { port, filter }))
    },
    specials: [targetAnswersHttp],
    note: 'As koa-proxies.',
  },
  {
    name: 'koa2-swagger-ui',
    tier: 2,
    use: (app) => {
      app.use(load('koa2-swagger-ui').koaSwagger({ routePrefix: '/docs' }))
    },
    specials: [
      {
        title: 'an upgrade of its own path gets its page',
        run: async ({ port }) => {
          const { status, body } = await rawUpgrade(port, '/docs')
          expect(status).to.equal(200)
          expect(String(body)).to.include('swagger-ui')
        },
      },
    ],
    note: 'Answers its own path only.',
  },
  {
    name: '@sentry/node',
    variant: 'setupKoaErrorHandler',
    tier: 2,
    instrumented: 'sentry',
    use: (app) => {
      load('@sentry/node').setupKoaErrorHandler(app)
    },
    specials: [
      {
        title: 'an error of the chain of an upgrade is captured, with its URL',
        run: async (host) => {
          const { status } = await rawUpgrade(host.port, '/broken')
          expect(status).to.equal(500)
          await host.seen(/^captured: a defect of the route at http:.*\/broken$/)
        },
      },
    ],
    note: 'Errors of the chain are captured, with the URL.',
  },
  {
    name: '@opentelemetry/instrumentation-koa',
    variant: 'with instrumentation-http',
    tier: 2,
    instrumented: 'opentelemetry',
    use: (app) => {
      app.use(async function stamp(ctx, next) {
        await next()
        ctx.set('x-stamp', 'yes')
      })
    },
    headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    prints: [
      /^span SERVER "GET" trace 0af7651916cd43dd8448eb211c80319c status 101 target \/accept$/,
      /^span INTERNAL "middleware - stamp" trace 0af7651916cd43dd8448eb211c80319c/,
    ],
    note: 'The upgrade is a SERVER span in the trace of the client that ends with the 101; spans of Koa middleware below it.',
  },
]
