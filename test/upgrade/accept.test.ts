import { once } from 'node:events'
import Router from '@koa/router'
import { expect } from 'chai'
import session from 'koa-session'
import { accept, type Connection, type KoaWsError } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import {
  acceptStatus,
  cleanUp,
  deferred,
  eventually,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'

describe('accepting', () => {
  afterEach(cleanUp)

  it('inside the chain follows the contract of koa-easy-ws', async () => {
    const { port } = await serve((app) =>
      app.use(async (ctx) => {
        if (!ctx.ws) {
          ctx.body = 'plain http'
          return
        }
        const connection = await ctx.ws()
        connection.send('hello')
      }),
    )
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).to.equal('plain http')
    expect(await (await openSocket(port)).next()).to.equal('hello')
  })

  it('after the chain sends headers that outer middleware sets later with the 101', async () => {
    const { port } = await serve(
      (app) => {
        app.use(async (ctx, next) => {
          await next()
          ctx.set('X-Later', 'yes')
          ctx.cookies.set('a', '1')
          ctx.cookies.set('b', '2')
        })
        app.use(accept((connection) => connection.send('hello')))
      },
      {
        before: (app) =>
          app.use(async (ctx, next) => {
            await next()
            ctx.set('X-Outer', 'yes')
          }),
      },
    )
    for (const round of ['first', 'later']) {
      const socket = await openSocket(port)
      expect(socket.handshake, round).to.include({ 'x-later': 'yes', 'x-outer': 'yes' })
      expect(socket.handshake['set-cookie'], round).to.have.length(2)
      expect(await socket.next()).to.equal('hello')
    }
  })

  it('copies custom, CORS and latin1 headers, but no headers of one hop or of a body @http1', async () => {
    const { port } = await serve((app) => {
      app.use((ctx, next) => {
        ctx.set('Access-Control-Allow-Origin', 'https://example.com')
        ctx.set('X-Name', 'caf\u00e9')
        ctx.set('X-Hop', '1')
        ctx.set('Connection', 'close, X-Hop')
        ctx.set('Keep-Alive', 'timeout=5')
        ctx.set('Transfer-Encoding', 'chunked')
        ctx.set('Trailer', 'x')
        ctx.set('Content-Type', 'text/html')
        ctx.set('Content-Security-Policy', 'none')
        ctx.set('Sec-WebSocket-Protocol', 'evil')
        ctx.set('Sec-WebSocket-Accept', 'evil')
        return next()
      })
      app.use(accept(() => {}))
    })
    const client = await rawClient(port)
    client.write(handshake('/'))
    const { status, headers, rawHead } = await client.answer()
    expect(status).to.equal(101)
    expect(rawHead).to.include('X-Name: caf\u00e9')
    expect([...headers.keys()].sort()).to.deep.equal([
      'access-control-allow-origin',
      'connection',
      'sec-websocket-accept',
      'upgrade',
      'x-name',
    ])
    expect(headers.get('connection')).to.deep.equal(['Upgrade'])
    expect(headers.get('sec-websocket-accept')).to.deep.equal(['s3pPLMBiTxaQ9kYGzzhZRbK+xOo='])
  })

  it('answers 500 for a header with CR or LF @http1', async () => {
    const { port } = await serve((app) =>
      app.use((ctx) => {
        ctx.set('X-Bad', 'a\r\nSet-Cookie: evil=1')
      }),
    )
    const { status, headers } = await rejected(openSocket(port))
    expect(status).to.equal(500)
    expect(headers['set-cookie']).to.equal(undefined)
  })

  it('never mixes the headers of concurrent handshakes', async () => {
    const { port } = await serve((app) => {
      app.use(async (ctx, next) => {
        ctx.set('X-Path', ctx.path)
        await new Promise((resolve) => setImmediate(resolve))
        await next()
      })
      app.use(accept((connection) => connection.send(connection.path)))
    })
    const paths = Array.from({ length: 50 }, (_, i) => `/${i}`)
    const sockets = await Promise.all(paths.map((path) => openSocket(port, path)))
    for (const [i, socket] of sockets.entries()) {
      expect(socket.handshake['x-path']).to.equal(`/${i}`)
      expect(await socket.next()).to.equal(`/${i}`)
    }
  })

  it('puts the new and the rolling cookie of koa-session on the 101', async () => {
    const { port } = await serve(
      (app) => {
        app.use(session({ rolling: true }, app))
        app.use((ctx, next) => {
          ctx['session'].count = (ctx['session'].count ?? 0) + 1
          return next()
        })
        app.use(accept((connection, ctx) => connection.json(ctx['session'].count)))
      },
      { koa: { keys: ['secret'] } },
    )
    const first = await openSocket(port)
    const cookies = first.handshake['set-cookie'] as string[]
    expect(cookies.join()).to.include('koa.sess=').and.to.include('koa.sess.sig=')
    expect(await first.next()).to.equal('1')
    const cookie = cookies.map((one) => one.split(';')[0]).join('; ')
    const second = await openSocket(port, '/', { headers: { cookie } })
    expect(second.handshake['set-cookie']).to.have.length(2)
    expect(await second.next()).to.equal('2')
  })

  it('runs no handler when a later status or throw rejects', async () => {
    let handled = false
    const { port } = await serve((app) => {
      app.use(async (ctx, next) => {
        await next()
        if (ctx.path === '/status') ctx.status = 429
        if (ctx.path === '/throw') ctx.throw(403)
      })
      app.use(accept(() => (handled = true)))
    })
    expect((await rejected(openSocket(port, '/status'))).status).to.equal(429)
    expect((await rejected(openSocket(port, '/throw'))).status).to.equal(403)
    expect(handled).to.equal(false)
  })

  for (const form of ['inside', 'after'] as const) {
    it(`${form} the chain finishes the response once, with the status of an accept`, async () => {
      const events: string[] = []
      const status = deferred<[number, boolean, boolean]>()
      const { port } = await serve(
        (app) =>
          app.use(async (ctx) => {
            if (form === 'inside') await ctx.ws?.()
            else ctx.ws?.(() => {})
          }),
        {
          before: (app) =>
            app.use(async (ctx, next) => {
              ctx.res.on('finish', () => events.push(`finish ${ctx.res.statusCode}`))
              ctx.res.on('close', () => events.push('close'))
              await next()
              status.resolve([ctx.status, ctx.headerSent, ctx.writable])
            }),
        },
      )
      for (let i = 0; i < 2; i++) {
        events.length = 0
        const socket = await openSocket(port)
        socket.close()
        await socket.closed
        expect(events).to.deep.equal([`finish ${acceptStatus()}`, 'close'])
      }
      const [code, headerSent] = await status.promise
      expect(code).to.equal(acceptStatus())
      if (form === 'inside') expect(headerSent).to.equal(true)
    })
  }

  it('inside the chain leaves later changes to the response without effect', async () => {
    const done = deferred()
    const { port, errors } = await serve((app) =>
      app.use(async (ctx) => {
        const connection = await (ctx.ws as NonNullable<typeof ctx.ws>)()
        ctx.set('X-Late', '1')
        ctx.cookies.set('late', '1')
        ctx.status = 500
        ctx.body = 'late'
        ctx.res.write('late')
        ctx.res.writeHead(200, { 'X-Late': '1' })
        ctx.res.flushHeaders()
        ctx.res.end('late')
        connection.send('fine')
        done.resolve()
      }),
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    expect((await client.answer()).status).to.equal(101)
    expect(await client.textFrame()).to.equal('fine')
    await done.promise
    expect(errors).to.deep.equal([])
  })

  it('twice inside the chain returns the same connection, and both forms together throw', async () => {
    const results: unknown[] = []
    const { port } = await serve((app) =>
      app.use(async (ctx) => {
        const ws = ctx.ws as NonNullable<typeof ctx.ws>
        const first = await ws()
        results.push(first === (await ws()))
        try {
          ws(() => {})
        } catch (error) {
          results.push((error as KoaWsError).code)
        }
        first.send('done')
      }),
    )
    expect(await (await openSocket(port)).next()).to.equal('done')
    expect(results).to.deep.equal([true, 'ERR_KOAWS_ALREADY_ACCEPTED'])
  })

  it('twice after the chain throws in the chain', async () => {
    const { port, errors } = await serve((app) => {
      app.use(accept(() => {}))
      app.use(accept(() => {}))
    })
    await openSocket(port) // accept() does not call next()
    await cleanUp()
    const other = await serve((app) =>
      app.use((ctx) => {
        ctx.ws?.(() => {})
        ctx.ws?.(() => {})
      }),
    )
    expect((await rejected(openSocket(other.port))).status).to.equal(500)
    expect(other.errors[0]?.error['code']).to.equal('ERR_KOAWS_ALREADY_ACCEPTED')
    expect(errors).to.deep.equal([])
  })

  it('after a response has begun rejects with ERR_KOAWS_RESPONDED, without an unhandled rejection', async () => {
    const codes: unknown[] = []
    const { port } = await serve((app) =>
      app.use(async (ctx) => {
        const ws = ctx.ws as NonNullable<typeof ctx.ws>
        ctx.respond = false
        ctx.res.statusCode = 403
        ctx.res.end('no')
        ws() // without await
        await ws().catch((error: KoaWsError) => codes.push(error.code))
      }),
    )
    expect((await rejected(openSocket(port))).body).to.equal('no')
    expect(codes).to.deep.equal(['ERR_KOAWS_RESPONDED'])
  })

  it('works with two plugins in one app, under properties of different names', async () => {
    const { app } = makeApp()
    const one = makeHub({ property: 'one' })
    const two = makeHub({ property: 'two' })
    app.use(one)
    app.use(async (ctx, next) => {
      if (ctx.path !== '/one') return next()
      const connection = await ctx['one']()
      connection.send('one')
    })
    app.use(two)
    app.use(async (ctx) => {
      expect(ctx.hub).to.equal(two)
      const connection = await ctx['two']()
      connection.send('two')
    })
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    expect(await (await openSocket(port, '/one')).next()).to.equal('one')
    expect(await (await openSocket(port, '/two')).next()).to.equal('two')
    expect([one.localConnections.size, two.localConnections.size]).to.deep.equal([1, 1])
    await one.close({ timeout: 100 })
    // The second plugin knows its server, although only an upgrade reached it.
    await two.close({ timeout: 100, server: true })
    expect(server.listening).to.equal(false)
  })

  it('works through routers, with parameters, prefix, nesting and query', async () => {
    const inner = new Router({ prefix: '/rooms' })
    inner.get(
      '/:room/:seat',
      accept((connection, ctx) => {
        connection.json([ctx.params, connection.params, connection.path, connection.query['x']])
      }),
    )
    const router = new Router({ prefix: '/api' })
    router.use(inner.routes(), inner.allowedMethods())
    const { port } = await serve((app) => app.use(router.routes()).use(router.allowedMethods()))
    const params = { room: 'lobby', seat: '3' }
    const socket = await openSocket(port, '/api/rooms/lobby/3?x=1')
    expect(await socket.nextJson()).to.deep.equal([params, params, '/api/rooms/lobby/3', '1'])
    expect((await rejected(openSocket(port, '/api/other'))).status).to.equal(404)
  })

  it('answers plain HTTP with 426, and an upgrade without the plugin in front with 500', async () => {
    const { app, errors } = makeApp()
    const hub = makeHub()
    app.use(accept(() => {}))
    app.use(hub)
    const server = hub.attach(app.listen(0, '127.0.0.1'))
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const plain = await fetch(`http://127.0.0.1:${port}/`)
    expect(plain.status).to.equal(426)
    expect(plain.headers.get('upgrade')).to.equal('websocket')
    expect((await rejected(openSocket(port))).status).to.equal(500)
    expect(errors.at(-1)?.error['code']).to.equal('ERR_KOAWS_NOT_INSTALLED')
    expect(errors.at(-1)?.error.message).to.include('move app.use(koaWs())')
    await hub.close({ server: true, timeout: 100 })
  })

  describe('a subprotocol', () => {
    async function chosen(
      options: Parameters<typeof accept>[1],
      protocols: string[],
    ): Promise<string | number> {
      const { port } = await serve((app) => app.use(accept(() => {}, options)))
      try {
        return (await openSocket(port, '/', { protocols })).protocol
      } catch (error) {
        return (error as { status: number }).status
      } finally {
        await cleanUp()
      }
    }

    it('is the first offered one, unless the route chooses', async () => {
      expect(await chosen({}, ['a', 'b'])).to.equal('a')
      expect(await chosen({}, [])).to.equal('')
      expect(await chosen({ subprotocol: 'b' }, ['a', 'b'])).to.equal('b')
      expect(await chosen({ subprotocol: ['c', 'b', 'a'] }, ['a', 'b'])).to.equal('b')
      expect(
        await chosen({ subprotocol: (offered) => offered.at(-1) ?? false }, ['a', 'b']),
      ).to.equal('b')
    })

    it('that does not match is answered with 400', async () => {
      expect(await chosen({ subprotocol: 'c' }, ['a', 'b'])).to.equal(400)
      expect(await chosen({ subprotocol: 'c' }, [])).to.equal(400)
      expect(await chosen({ subprotocol: () => false }, ['a'])).to.equal(400)
    })

    it('is never a credential, or koaws.v1 without messages()', async () => {
      expect(await chosen({}, ['koaws.bearer.x', 'a'])).to.equal('a')
      expect(await chosen({}, ['koaws.bearer.x'])).to.equal(400)
      expect(await chosen({}, ['koaws.v1', 'a'])).to.equal('a')
    })
  })

  it('replaces the request and response behind ctx by slim records', async () => {
    const kept = deferred<[Connection, unknown]>()
    const { port } = await serve((app) =>
      app.use(accept((connection, ctx) => kept.resolve([connection, ctx]))),
    )
    const socket = await openSocket(port, '/a?b=1', { headers: { cookie: 'x=1' } })
    const [connection, context] = await kept.promise
    const ctx = context as {
      req: object
      res: { headersSent: boolean }
      path: string
      query: object
      ip: string
      status: number
      cookies: { get(name: string): string }
    }
    expect(ctx.req.constructor.name).to.match(/RequestRecord$/)
    expect(ctx.path).to.equal('/a')
    expect({ ...ctx.query }).to.deep.equal({ b: '1' })
    expect(ctx.cookies.get('x')).to.equal('1')
    expect(ctx.ip).to.equal('127.0.0.1')
    expect(ctx.status).to.equal(acceptStatus())
    expect(connection.ip).to.equal('127.0.0.1')
    socket.close()
    await eventually(() => connection.readyState === 3)
  })

  it('detaches Node: its parser leaves the socket, and its timeouts do not apply', async () => {
    const parser = deferred<unknown>()
    const { port, server } = await serve((app) =>
      app.use(
        accept((connection, ctx) => {
          parser.resolve((ctx.req.socket as unknown as { parser: unknown }).parser ?? null)
          connection.on('message', (data) => connection.send(data as Buffer))
        }),
      ),
    )
    // Long enough for the handshake on a busy machine.
    server.headersTimeout = 1_000
    server.requestTimeout = 1_000
    server.keepAliveTimeout = 1_000
    server.setTimeout(1_000)
    for (const round of ['first', 'later']) {
      const socket = await openSocket(port)
      expect(await parser.promise, round).to.equal(null)
      // An idle session of HTTP/2 may end.
      for (let i = 0; i < 7; i++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        socket.send('x')
        expect(String(await socket.next())).to.equal('x')
      }
    }
  })
})
