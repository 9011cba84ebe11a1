import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { Readable } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { expect } from 'chai'
import type Koa from 'koa'
import { accept } from '../../lib/index.ts'
import { selfSigned } from '../support/certificate.ts'
import { handshake, RawClient, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'

describe('a rejection', () => {
  afterEach(cleanUp)

  async function rejectedBy(
    middleware: Koa.Middleware,
  ): Promise<Awaited<ReturnType<typeof rejected>>> {
    const { port } = await serve((app) => app.use(middleware))
    await openSocket(port, '/first').catch(() => {}) // now the listener is attached
    return rejected(openSocket(port))
  }

  it('carries the status, the headers and the body of ctx.throw', async () => {
    const { status, headers, body } = await rejectedBy((ctx) =>
      ctx.throw(401, 'who are you?', { headers: { 'WWW-Authenticate': 'Bearer' } }),
    )
    expect({ status, body }).to.deep.equal({ status: 401, body: 'who are you?' })
    expect(headers['www-authenticate']).to.equal('Bearer')
    expect(headers.connection).to.equal('close')
    expect(headers['content-length']).to.equal('12')
  })

  it('carries JSON, cookies and CORS headers', async () => {
    const { status, headers, body } = await rejectedBy((ctx) => {
      ctx.status = 403
      ctx.cookies.set('a', '1')
      ctx.cookies.set('b', '2')
      ctx.set('Access-Control-Allow-Origin', 'https://example.com')
      ctx.body = { reason: 'no' }
    })
    expect(status).to.equal(403)
    expect(headers['set-cookie']).to.have.length(2)
    expect(headers['access-control-allow-origin']).to.equal('https://example.com')
    expect(JSON.parse(body)).to.deep.equal({ reason: 'no' })
  })

  it('is a 404 when no middleware answers', async () => {
    expect((await rejectedBy((_ctx, next) => next())).status).to.equal(404)
  })

  it('can be a redirect', async () => {
    const { status, headers } = await rejectedBy((ctx) => ctx.redirect('/login'))
    expect(status).to.equal(302)
    expect(headers.location).to.equal('/login')
  })

  it('for an ordinary error is a 500 without its message', async () => {
    const { status, body } = await rejectedBy(() => {
      throw new Error('secret')
    })
    expect({ status, body }).to.deep.equal({ status: 500, body: 'Internal Server Error' })
  })

  it('by a route for HTTP is the answer of that route @http1', async () => {
    const { status, body } = await rejectedBy((ctx) => {
      ctx.body = 'hello'
    })
    expect({ status, body }).to.deep.equal({ status: 200, body: 'hello' })
  })

  it('emits the app error once, and never runs the handler', async () => {
    let handled = false
    const { port, errors } = await serve((app) => {
      app.use(async (ctx, next) => {
        await next()
        ctx.throw(429, 'later')
      })
      app.use(accept(() => (handled = true)))
    })
    expect((await rejected(openSocket(port))).status).to.equal(429)
    expect(errors).to.have.length(1)
    expect(handled).to.equal(false)
  })

  it('streams 6 MB over TLS completely, and ends TCP', async () => {
    const { app } = makeApp()
    const hub = makeHub()
    app.use(hub)
    app.use((ctx) => {
      ctx.status = 403
      ctx.body = Readable.from(chunksOf(6 * 1024 * 1024))
    })
    const { key, cert } = selfSigned()
    const server = createTlsServer(
      { key: readFileSync(key), cert: readFileSync(cert) },
      app.callback(),
    )
    const port = await listen(server as never)
    for (const round of ['the first request', 'a later one']) {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      const client = new RawClient(socket)
      client.write(handshake('/'))
      const { status, headers, body } = await client.answer()
      expect(status, round).to.equal(403)
      expect(headers.get('connection'), round).to.deep.equal(['close'])
      expect(body.length, round).to.equal(6 * 1024 * 1024)
      await client.end()
      expect(client.received.length, round).to.equal(0)
    }
  })

  it('waits until the client has read a streamed body @http1', async () => {
    const { port } = await serve((app) =>
      app.use((ctx) => {
        ctx.status = 403
        ctx.body = Readable.from(chunksOf(3 * 1024 * 1024))
      }),
    )
    await openSocket(port).catch(() => {})
    const client = await rawClient(port)
    client.socket.pause()
    client.write(handshake('/'))
    await new Promise((resolve) => setImmediate(resolve))
    client.socket.resume()
    expect((await client.answer()).body.length).to.equal(3 * 1024 * 1024)
  })

  it('ends TCP, and never executes a second request on it', async () => {
    const seen: string[] = []
    const { port } = await serve(
      (app) =>
        app.use((ctx) => {
          seen.push(ctx.path)
          ctx.throw(401)
        }),
      { handshakeTimeout: 3_600_000 },
    )
    for (const path of ['/first', '/second']) {
      const client = await rawClient(port)
      client.write(`${handshake(path)}GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      expect((await client.answer()).status).to.equal(401)
      client.write('GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await client.end()
      expect(client.received.length).to.equal(0)
    }
    expect(seen).to.deep.equal(['/first', '/second'])
  })

  it('arrives complete at a client that has sent much data already', async () => {
    const { port } = await serve((app) =>
      app.use(async (ctx) => {
        await new Promise((resolve) => setImmediate(resolve))
        ctx.throw(401, 'x'.repeat(1000))
      }),
    )
    await openSocket(port).catch(() => {})
    for (let i = 0; i < 20; i++) {
      const client = await rawClient(port)
      client.write(handshake('/'))
      client.socket.write(Buffer.alloc(640 * 1024))
      expect((await client.answer()).body.length).to.equal(1000)
      await client.end()
    }
  })

  it('with a status of 101 set by hand, without a handler, becomes 500', async () => {
    const { port, errors } = await serve((app) =>
      app.use((ctx) => {
        ctx.status = 101
      }),
    )
    const first = await rejected(openSocket(port))
    const second = await rejected(openSocket(port))
    expect([first.status, second.status]).to.deep.equal([500, 500])
    expect(second.body).to.equal('Internal Server Error')
    expect(errors).to.have.length(2)
  })

  it('with a streamed body and a stray 101 becomes a plain 500', async () => {
    const { port } = await serve((app) =>
      app.use((ctx) => {
        ctx.status = 101
        ctx.body = Readable.from(['secret'])
      }),
    )
    const { status, body } = await rejected(openSocket(port))
    expect({ status, body }).to.deep.equal({ status: 500, body: 'Internal Server Error' })
  })

  describe('by close code', () => {
    const offer = { protocols: ['koaws.v1'] }

    it('closes a client that offers koaws.v1 with 4000 plus the status, and with the exposed message', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.throw(401, 'token expired')))
      const socket = await openSocket(port, '/', offer)
      expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'token expired' })
    })

    it('hides a message that is not exposed', async () => {
      const { port, hub } = await serve((app) =>
        app.use(() => {
          throw new Error('secret')
        }),
      )
      const socket = await openSocket(port, '/', offer)
      expect(await socket.closed).to.deep.equal({ code: 4500, reason: 'Internal Server Error' })
      expect(hub.localConnections.size).to.equal(0)
    })

    it('keeps the status for loggers, and the cookies for the client', async () => {
      const status = deferred<number>()
      const { port } = await serve(
        (app) =>
          app.use((ctx) => {
            ctx.cookies.set('a', '1')
            ctx.status = 403
          }),
        {
          before: (app) =>
            app.use(
              (ctx, next) => (
                ctx.res.on('finish', () => status.resolve(ctx.res.statusCode)), next()
              ),
            ),
        },
      )
      const socket = await openSocket(port, '/', offer)
      expect(await status.promise).to.equal(403)
      expect(socket.handshake['set-cookie']).to.have.length(1)
    })

    it('applies to 4xx and 5xx only', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.redirect('/login')))
      expect((await rejected(openSocket(port, '/', offer))).status).to.equal(302)
    })

    it('never applies to a page of a foreign origin', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.throw(401)), { reject: 'close' })
      const answer = await rejected(
        openSocket(port, '/', { ...offer, headers: { Origin: 'http://evil.example' } }),
      )
      expect(answer.status).to.equal(403)
    })

    it('does not apply with reject: "http"', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.throw(401)), { reject: 'http' })
      expect((await rejected(openSocket(port, '/', offer))).status).to.equal(401)
    })

    it('applies to every client with reject: "close"', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.throw(403)), { reject: 'close' })
      expect((await (await openSocket(port)).closed).code).to.equal(4403)
      const chat = await openSocket(port, '/', { protocols: ['chat'] })
      expect(chat.protocol).to.equal('chat')
    })

    it('does not apply to a client that offers only a credential', async () => {
      const { port } = await serve((app) => app.use((ctx) => ctx.throw(403)), { reject: 'close' })
      expect(
        (await rejected(openSocket(port, '/', { protocols: ['koaws.bearer.x'] }))).status,
      ).to.equal(403)
    })

    it('can be chosen by the route', async () => {
      const { port } = await serve((app) => {
        app.use(async (ctx, next) => {
          await next()
          ctx.throw(409)
        })
        app.use(accept(() => {}, { reject: 'close' }))
      })
      expect((await (await openSocket(port)).closed).code).to.equal(4409)
    })
  })
})

function* chunksOf(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk
}
