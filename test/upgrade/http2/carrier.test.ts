import { once } from 'node:events'
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { accept, bearer, forward, type KoaWsError } from '../../../lib/index.ts'
import {
  cleanUpHttp2,
  connectHttp2,
  HANDSHAKE,
  openOver,
  serveHttp2,
} from '../../http2/support/site.ts'
import { deferred, eventually, openSocket, rejected, soon } from '../../support/server.ts'

/** Returns the answer to a request with an open client side. */
async function answerTo(
  session: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  const stream = session.request(headers, { endStream: false })
  const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  const body = await text(stream)
  stream.close()
  return { headers: answer, body }
}

describe('an extended CONNECT', () => {
  afterEach(cleanUpHttp2)

  it('hides the token of the query from middleware behind bearer()', async () => {
    let seen = ''
    const site = await serveHttp2((app) => {
      app.use(bearer({ query: 'token' }))
      app.use((ctx, next) => {
        const { req, request, headers, url, originalUrl, href } = ctx
        seen = JSON.stringify([
          req.rawHeaders,
          req.headers,
          req.url,
          request,
          headers,
          url,
          originalUrl,
          href,
        ])
        expect(ctx.get('authorization')).to.equal('Bearer very-secret')
        return next()
      })
      app.use(accept(() => {}))
    })
    await openOver(await connectHttp2(site), '/?token=very-secret&a=1')
    expect(seen).to.contain('/?a=1').and.not.to.contain('very-secret')
  })

  const echo = accept((connection) => {
    connection.on('message', (data, binary) =>
      connection.send(binary ? (data as Buffer) : String(data)),
    )
  })

  for (const [key, answer] of [
    ['dGhlIHNhbXBsZSBub25jZQ==', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='], // RFC 6455, section 1.3
    [undefined, undefined],
    ['', undefined],
    ['no key', undefined],
    ['dGhlIHNhbXBsZSBub25jZQ', undefined],
  ] as const) {
    it(`with the key ${JSON.stringify(key)} is accepted with the answer ${JSON.stringify(answer)}`, async () => {
      const site = await serveHttp2((app) => app.use(accept(() => {})))
      const stream = (await connectHttp2(site)).request(
        { ...HANDSHAKE, ...(key !== undefined && { 'sec-websocket-key': key }) },
        { endStream: false },
      )
      const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
      expect(headers[':status']).to.equal(200)
      expect(headers['sec-websocket-accept']).to.equal(answer)
      stream.close()
    })
  }

  it('is answered with the headers that a forwarded WebSocketServer adds in its headers event', async () => {
    const wss = new WebSocketServer({ noServer: true })
    let session: unknown
    wss.on('headers', (lines, req) => {
      session = (req as { session?: unknown }).session
      lines.push('X-Added: yes', 'Set-Cookie: b=2')
    })
    const site = await serveHttp2((app) => {
      app.use((ctx, next) => {
        Object.assign(ctx.req, { session: 'of the middleware' })
        ctx.set('Set-Cookie', 'a=1')
        return next()
      })
      app.use(accept(forward(wss)))
    })
    const { handshake } = await openOver(await connectHttp2(site))
    expect(session).to.equal('of the middleware')
    expect(handshake).to.include({ 'x-added': 'yes' })
    expect(handshake['set-cookie']).to.deep.equal(['a=1', 'b=2'])
  })

  for (const plain of [false, true]) {
    it(`runs the chain as a GET, and is accepted with 200, ${plain ? 'without' : 'over'} TLS`, async () => {
      const seen: unknown[] = []
      const site = await serveHttp2(
        (app) => {
          app.use(async (ctx, next) => {
            seen.push(ctx.method, ctx.path, ctx.host, ctx.protocol, ctx.ip, ctx.req.httpVersion)
            await next()
            seen.push(ctx.status, ctx.ws?.accepted)
            ctx.set('X-Later', 'yes')
            ctx.cookies.set('a', '1')
            ctx.cookies.set('b', '2')
          })
          app.use(echo)
        },
        { plain },
      )
      const session = await connectHttp2(site)
      const socket = await openOver(session, '/room?x=1')
      expect(seen).to.deep.equal([
        ...['GET', '/room', `127.0.0.1:${site.port}`, plain ? 'http' : 'https'],
        ...['127.0.0.1', '2.0', 200, true],
      ])
      expect(socket.handshake).to.include({ 'x-later': 'yes' })
      expect(socket.handshake['set-cookie']).to.have.length(2)
      const large = 'x'.repeat(300_000)
      socket.send('hello')
      socket.send(large)
      socket.send(Buffer.from([1, 2, 3]))
      expect(await socket.next()).to.equal('hello')
      expect(await socket.next()).to.equal(large)
      expect(await socket.next()).to.deep.equal(Buffer.from([1, 2, 3]))
      socket.close(4001, 'bye')
      expect(await socket.closed).to.deep.include({ code: 4001 })
      await eventually(() => site.hub.localConnections.size === 0)
    })
  }

  it('is accepted inside of the chain too, which ignores later headers and bodies', async () => {
    const after = deferred<unknown[]>()
    const site = await serveHttp2((app) =>
      app.use(async (ctx) => {
        const connection = await (ctx.ws as NonNullable<typeof ctx.ws>)()
        connection.send(`${ctx.status}`)
        ctx.set('X-Late', '1')
        ctx.res.setHeader('X-Later', '1')
        ctx.body = 'late'
        after.resolve([ctx.headerSent, ctx.writable, ctx.ws?.accepted])
      }),
    )
    const socket = await openOver(await connectHttp2(site))
    expect(await socket.next()).to.equal('200')
    expect(await after.promise).to.deep.equal([true, false, true])
    expect(socket.handshake).not.to.have.any.keys('x-late', 'x-later')
    expect(site.errors).to.deep.equal([])
  })

  it('leaves records behind ctx with the facts of HTTP/2', async () => {
    const kept = deferred<unknown[]>()
    const site = await serveHttp2((app) =>
      app.use((ctx) =>
        ctx.ws?.((connection, later) => {
          connection.on('message', () => {
            const { method, url, httpVersion, socket } = later.req
            kept.resolve([
              ...[method, url, httpVersion, later.status, later.host, later.secure],
              ...[later.ip, socket.remoteAddress, later.get('x-own')],
            ])
          })
        }),
      ),
    )
    const socket = await openOver(await connectHttp2(site), '/a?b=1', { headers: { 'x-own': 'y' } })
    socket.send('now')
    expect(await kept.promise).to.deep.equal([
      ...['GET', '/a?b=1', '2.0', 200, `127.0.0.1:${site.port}`, true],
      ...['127.0.0.1', '127.0.0.1', 'y'],
    ])
  })

  it('emits finish and close of the response once', async () => {
    const told: string[] = []
    const site = await serveHttp2((app) => app.use(echo), {
      before: (app) =>
        app.use((ctx, next) => {
          for (const event of ['finish', 'close']) ctx.res.on(event, () => told.push(event))
          return next()
        }),
    })
    const socket = await openOver(await connectHttp2(site))
    expect(told).to.deep.equal(['finish', 'close'])
    socket.close()
    await socket.closed
    await eventually(() => site.hub.localConnections.size === 0)
    expect(told).to.deep.equal(['finish', 'close'])
  })

  it('has an empty body for a parser in the chain', async () => {
    const site = await serveHttp2((app) => {
      app.use(async (ctx, next) => {
        ctx.state['body'] = await text(ctx.req)
        await next()
      })
      app.use(
        accept((connection, ctx) => {
          connection.send(`[${ctx.state['body']}]`)
          connection.on('message', (data) => connection.send(String(data)))
        }),
      )
    })
    const socket = await openOver(await connectHttp2(site))
    expect(await socket.next()).to.equal('[]')
    socket.send('hello')
    expect(await socket.next()).to.equal('hello')
  })

  describe('that is rejected', () => {
    it('gets the ordinary answer of Koa, and its stream ends', async () => {
      const site = await serveHttp2((app) =>
        app.use((ctx) => {
          if (ctx.path === '/none') return
          ctx.status = 401
          ctx.set('WWW-Authenticate', 'Bearer')
          ctx.body = { error: 'who are you?' }
        }),
      )
      const session = await connectHttp2(site)
      const { status, headers, body } = await rejected(openOver(session))
      expect([status, body]).to.deep.equal([401, '{"error":"who are you?"}'])
      expect(headers['www-authenticate']).to.equal('Bearer')
      expect((await rejected(openOver(session, '/none'))).status).to.equal(404)
      await eventually(() => site.hub.status().pending === 0)
      // The server ends the stream although the client's side stays open.
      const stream = session.request(HANDSHAKE, { endStream: false })
      stream.resume()
      await once(stream, 'close')
      expect([stream.rstCode, session.destroyed]).to.deep.equal([0, false])
    })

    it('reports no application error when its connection is reset afterwards', async () => {
      const told: string[] = []
      const site = await serveHttp2((app) => app.use((ctx) => ctx.throw(401)), {
        before: (app) =>
          app.use((ctx, next) => {
            for (const event of ['finish', 'close']) ctx.res.on(event, () => told.push(event))
            return next()
          }),
      })
      const session = await connectHttp2(site)
      const stream = session.request(HANDSHAKE, { endStream: false })
      stream.on('error', () => {})
      await once(stream, 'response')
      await eventually(() => site.hub.status().pending === 0)
      const server = site.seen[0] as http2.ServerHttp2Session
      const gone = new Promise((resolve) => server.once('close', resolve))
      server.destroy(new Error('read ECONNRESET')) // like Node after a TCP reset
      await gone
      expect(site.errors.map(({ error }) => error.message)).to.deep.equal(['Unauthorized'])
      expect(told).to.deep.equal(['finish', 'close'])
    })

    it('gets a complete streamed body, with backpressure', async () => {
      const size = 3 * 1024 * 1024
      const site = await serveHttp2((app) =>
        app.use((ctx) => {
          ctx.status = 403
          ctx.body = Readable.from(
            (function* () {
              for (let i = 0; i < size; i += 65_536) yield Buffer.alloc(65_536, 'x')
            })(),
          )
        }),
      )
      const { headers, body } = await answerTo(await connectHttp2(site), HANDSHAKE)
      expect([headers[':status'], body.length]).to.deep.equal([403, size])
    })

    it('because no handler accepts gets 405 instead of a 2xx, which would open a WebSocket', async () => {
      const site = await serveHttp2((app) =>
        app.use((ctx) => {
          if (ctx.path === '/empty') ctx.status = 204
          else ctx.body = 'hello'
        }),
      )
      const session = await connectHttp2(site)
      for (const path of ['/', '/empty']) {
        const { status, headers, body } = await rejected(openOver(session, path))
        expect(status).to.equal(405)
        expect(headers['allow']).to.equal('GET, HEAD')
        expect(body).to.equal('There is no WebSocket here.')
      }
      expect(site.errors).to.deep.equal([])
      const answer = await answerTo(session, { ':path': '/' })
      expect([answer.headers[':status'], answer.body]).to.deep.equal([200, 'hello'])
    })

    it('by an error gets 405 even when the application answers errors with 200', async () => {
      let opened = 0
      const site = await serveHttp2(
        (app) =>
          app.use((ctx) => {
            ctx.ws?.(() => void opened++)
            throw new Error('not you')
          }),
        {
          before: (app) =>
            app.use(async (ctx, next) => {
              await next().catch((error: Error) => {
                ctx.status = 200
                ctx.body = { error: error.message }
              })
            }),
        },
      )
      expect((await rejected(openOver(await connectHttp2(site)))).status).to.equal(405)
      expect(opened).to.equal(0)
    })

    it('and ignores the answer ends at its deadline, even with other traffic on its session', async () => {
      const site = await serveHttp2(
        (app) =>
          app.use((ctx) => {
            ctx.status = 403
            ctx.body = 'x'.repeat(1024 * 1024)
          }),
        { handshakeTimeout: 150 },
      )
      const session = await connectHttp2(site)
      const stream = session.request(HANDSHAKE, { endStream: false })
      stream.on('error', () => {})
      await once(stream, 'response')
      const timer = setInterval(() => session.ping(() => {}), 20)
      await eventually(() => site.hub.status().drops['deadline'] === 1)
      clearInterval(timer)
      expect(site.hub.status().pending).to.equal(0)
    })

    it('gets a close code when it offers koaws.v1', async () => {
      const site = await serveHttp2((app) => app.use((ctx) => ctx.throw(401, 'no token')))
      const session = await connectHttp2(site)
      const socket = await openOver(session, '/', { protocols: ['koaws.v1'] })
      expect(await socket.closed).to.deep.include({ code: 4401, reason: 'no token' })
    })

    it('because a header would split a line behind a proxy gets 500', async () => {
      const site = await serveHttp2((app) => {
        app.use((ctx, next) => {
          ctx.set('X-Bad', 'a\r\nSet-Cookie: evil=1')
          return next()
        })
        app.use(echo)
      })
      const { status, headers } = await rejected(openOver(await connectHttp2(site)))
      expect(status).to.equal(500)
      expect(headers['set-cookie']).to.equal(undefined)
    })

    it('at its deadline gets 503, and a later accept rejects', async () => {
      const late = deferred<KoaWsError>()
      const site = await serveHttp2(
        (app) =>
          app.use(async (ctx) => {
            const ws = ctx.ws as NonNullable<typeof ctx.ws>
            await once(ws.signal, 'abort')
            await ws().catch(late.resolve)
          }),
        { handshakeTimeout: 100 },
      )
      const { status } = await rejected(openOver(await connectHttp2(site)))
      expect(status).to.equal(503)
      expect((await late.promise).code).to.equal('ERR_KOAWS_DEADLINE')
      expect(site.hub.status().drops).to.deep.equal({ deadline: 1 })
    })

    it('ends at its deadline, even when the application has answered the stream itself', async () => {
      const site = await serveHttp2(
        (app) =>
          app.use((ctx) => {
            ;(ctx.req as unknown as http2.Http2ServerRequest).stream.respond({ ':status': 418 })
            return new Promise(() => {})
          }),
        { handshakeTimeout: 100 },
      )
      const session = await connectHttp2(site)
      const stream = session.request(HANDSHAKE, { endStream: false })
      stream.on('error', () => {})
      expect((await once(stream, 'response'))[0][':status']).to.equal(418)
      await once(stream.resume(), 'close')
      expect(site.hub.status().pending).to.equal(0)
    })
  })

  for (const how of ['RST_STREAM', 'END_STREAM', 'the end of the session', 'the end of TCP']) {
    it(`aborts ctx.ws.signal when its client leaves by ${how} during the chain`, async () => {
      const reached = deferred()
      const gone = deferred<KoaWsError>()
      const site = await serveHttp2((app) =>
        app.use(async (ctx) => {
          const ws = ctx.ws as NonNullable<typeof ctx.ws>
          reached.resolve()
          await once(ws.signal, 'abort')
          await ws().catch(gone.resolve)
        }),
      )
      const tcp = connectTls({ port: site.port, ALPNProtocols: ['h2'], rejectUnauthorized: false })
      const session = await connectHttp2(site, { createConnection: () => tcp })
      const stream = session.request(HANDSHAKE, { endStream: false })
      stream.on('error', () => {})
      await reached.promise
      if (how === 'RST_STREAM') stream.close(http2.constants.NGHTTP2_CANCEL)
      else if (how === 'END_STREAM') stream.end()
      else if (how === 'the end of TCP') tcp.destroy()
      else session.destroy()
      expect((await gone.promise).code).to.equal('ERR_KOAWS_CLIENT_GONE')
      await eventually(() => site.hub.status().pending === 0)
    })
  }

  describe('with other requests on the port', () => {
    it('shares its session with other WebSockets and ordinary requests', async () => {
      const site = await serveHttp2((app) => {
        app.use((ctx, next) => (ctx.path === '/page' ? void (ctx.body = 'page') : next()))
        app.use(echo)
      })
      const session = await connectHttp2(site)
      const sockets = await Promise.all([1, 2, 3].map((n) => openOver(session, `/${n}`)))
      for (const [i, socket] of sockets.entries()) {
        socket.send(`to ${i}`)
        expect(await socket.next()).to.equal(`to ${i}`)
      }
      expect((await answerTo(session, { ':path': '/page' })).body).to.equal('page')
      expect(site.seen).to.have.length(1)
      expect(site.hub.status().connections).to.equal(3)
    })

    it('leaves upgrades over HTTP/1.1 unchanged', async () => {
      const site = await serveHttp2((app) => {
        app.use((ctx, next) => (ctx.path === '/page' ? void (ctx.body = 'page') : next()))
        app.use(echo)
      })
      const one = await openSocket(`wss://127.0.0.1:${site.port}/`, '/', {
        rejectUnauthorized: false,
      })
      one.send('hello')
      expect(await one.next()).to.equal('hello')
      const two = await openOver(await connectHttp2(site))
      two.send('hello')
      expect(await two.next()).to.equal('hello')
      expect(site.hub.status().connections).to.equal(2)
    })

    it('rejects a plain CONNECT with 405, and another protocol with 501', async () => {
      const ran: string[] = []
      const site = await serveHttp2((app) => app.use((ctx) => void ran.push(ctx.path)))
      const session = await connectHttp2(site)
      const plain = await answerTo(session, { ':method': 'CONNECT', ':authority': 'example.com' })
      expect(plain.headers[':status']).to.equal(405)
      const other = await answerTo(session, { ...HANDSHAKE, ':protocol': 'webtransport' })
      expect(other.headers[':status']).to.equal(501)
      expect(ran).to.deep.equal([])
    })

    for (const attach of [true, false]) {
      it(`leaves a CONNECT over HTTP/1.1 to Node, ${attach ? 'with' : 'without'} hub.attach()`, async () => {
        const site = await serveHttp2((app) => app.use(echo), { attach })
        const client = connectTls({ port: site.port, rejectUnauthorized: false })
        client.write('CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n')
        expect(await text(client)).to.equal('')
      })
    }

    it('leaves other protocols to another listener, which may also answer first', async () => {
      const site = await serveHttp2((app) => app.use(echo))
      const heard: unknown[] = []
      site.server.on('connect', (req, res) => {
        expect(req.method).to.equal('CONNECT')
        heard.push(req.headers[':protocol'])
        if (req.headers[':path'] === '/theirs' || req.headers[':protocol'] !== 'websocket') {
          res.writeHead(202).end()
        }
      })
      const session = await connectHttp2(site)
      const { headers } = await answerTo(session, { ...HANDSHAKE, ':path': '/theirs' })
      expect(headers[':status']).to.equal(202)
      const other = await answerTo(session, { ...HANDSHAKE, ':protocol': 'webtransport' })
      expect(other.headers[':status']).to.equal(202)
      const socket = await openOver(session, '/ours')
      socket.send('hello')
      expect(await socket.next()).to.equal('hello')
      expect(heard).to.deep.equal(['websocket', 'webtransport', 'websocket'])
    })

    it('is left to other listeners by the option filter, and rejected with 405 without one', async () => {
      const site = await serveHttp2((app) => app.use(echo), { filter: (req) => req.url !== '/no' })
      const session = await connectHttp2(site)
      expect((await rejected(openOver(session, '/no'))).status).to.equal(405)
      await openOver(session, '/yes')
    })
  })

  describe('on a server without hub.attach()', () => {
    it('works after a request has passed the plugin, on the open session and on later ones', async () => {
      const site = await serveHttp2(
        (app) => {
          app.use((ctx, next) => (ctx.path === '/page' ? void (ctx.body = 'page') : next()))
          app.use(echo)
        },
        { attach: false },
      )
      const session = await connectHttp2(site)
      expect(session.remoteSettings.enableConnectProtocol).to.equal(false)
      await answerTo(session, { ':path': '/page' })
      await eventually(() => session.remoteSettings.enableConnectProtocol === true)
      const socket = await openOver(session)
      socket.send('hello')
      expect(await socket.next()).to.equal('hello')
      const later = await connectHttp2(site)
      expect(later.remoteSettings.enableConnectProtocol).to.equal(true)
    })

    it('is disabled on sessions that start after hub.detach()', async () => {
      const site = await serveHttp2((app) => app.use(echo))
      const before = await connectHttp2(site)
      site.hub.detach(site.server)
      expect((await rejected(openOver(before))).status).to.equal(405)
      const after = await connectHttp2(site)
      expect(after.remoteSettings.enableConnectProtocol).to.equal(false)
      site.hub.attach(site.server)
      for (let i = 0; i < 15; i++) {
        site.hub.detach(site.server)
        site.hub.attach(site.server)
      }
      await openOver(before)
      const [session] = site.seen as [http2.ServerHttp2Session]
      expect(session.listenerCount('close')).to.be.below(5)
    })
  })

  describe('counts towards', () => {
    it('maxPerAddress, per stream', async () => {
      const site = await serveHttp2((app) => app.use(echo), { maxPerAddress: 2 })
      const session = await connectHttp2(site)
      const [first] = [await openOver(session), await openOver(session)]
      expect((await rejected(openOver(session))).status).to.equal(429)
      expect((await rejected(openOver(await connectHttp2(site)))).status).to.equal(429)
      first?.close()
      await eventually(() => site.hub.status().connections === 1)
      await openOver(session)
      expect(site.hub.status().drops).to.deep.equal({ maxPerAddress: 2 })
    })

    it('maxPerSession, unlike an upgrade over HTTP/1.1', async () => {
      const site = await serveHttp2((app) => app.use(echo), { maxPerSession: 2 })
      const session = await connectHttp2(site)
      const [first] = [await openOver(session), await openOver(session)]
      const { status, headers } = await rejected(openOver(session))
      expect([status, headers['retry-after']]).to.deep.equal([429, '5'])
      const second = await connectHttp2(site)
      await openOver(second)
      for (let i = 0; i < 3; i++) {
        await openSocket(`wss://127.0.0.1:${site.port}/`, '/', { rejectUnauthorized: false })
      }
      first?.terminate()
      await eventually(() => site.hub.status().connections === 5)
      await openOver(session)
      expect(site.hub.status().drops).to.deep.equal({ maxPerSession: 1 })
    })
  })

  it('from a foreign origin is refused before the application runs', async () => {
    const ran: string[] = []
    const site = await serveHttp2((app) => app.use((ctx) => void ran.push(ctx.path)), {
      before: (app) => app.use((ctx, next) => (ran.push(ctx.path), next())),
    })
    const session = await connectHttp2(site)
    const headers = { origin: 'https://evil.example' }
    expect((await rejected(openOver(session, '/', { headers }))).status).to.equal(403)
    expect(ran).to.deep.equal([])
    expect(site.hub.status().drops).to.deep.equal({ origin: 1 })
    const own = { origin: `https://127.0.0.1:${site.port}` }
    expect((await rejected(openOver(session, '/own', { headers: own }))).status).to.equal(404)
  })

  it('of a version other than 13 is refused with the supported version', async () => {
    const site = await serveHttp2((app) => app.use(echo))
    const answer = await answerTo(await connectHttp2(site), {
      ...HANDSHAKE,
      'sec-websocket-version': '8',
    })
    expect(answer.headers).to.include({ ':status': 400, 'sec-websocket-version': '13' })
  })

  it('leaves the shutdown unaffected by a TCP connection that sends nothing', async () => {
    const site = await serveHttp2((app) => app.use(echo), { plain: true })
    const silent = connectTcp(site.port, '127.0.0.1')
    silent.on('error', () => {})
    await once(silent, 'connect')
    await soon(() => expect(site.seen).to.have.length(1))
    const ended = once(silent.resume(), 'close')
    await site.hub.close({ server: true, timeout: 200 })
    await ended
    expect(site.server.listening).to.equal(false)
  })
})
