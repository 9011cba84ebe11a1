import { type EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { finished, Readable } from 'node:stream'
import { inspect } from 'node:util'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import {
  accept,
  bearer,
  type Connection,
  type KoaWsError,
  type KoaWsOptions,
} from '../../lib/index.ts'
import { closeFrame, handshake, rawClient, textFrame } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  eventually,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
  turn,
} from '../support/server.ts'

const big = (): Readable =>
  Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(64 * 1024, 'x')))

/** Thrown values that throw when they are inspected. */
const odd: [what: string, thrown: unknown, code: number][] = [
  [
    'an object with a throwing tag',
    {
      get [Symbol.toStringTag]() {
        throw new Error('tag')
      },
    },
    1011,
  ],
  [
    'an object with a throwing inspection',
    {
      [inspect.custom]() {
        throw new Error('inspect')
      },
    },
    1011,
  ],
  [
    'a Proxy that throws',
    new Proxy(
      {},
      {
        getPrototypeOf() {
          throw new Error('proxy')
        },
      },
    ),
    1011,
  ],
  [
    'an error with a throwing status',
    Object.defineProperty(new Error('x'), 'status', {
      get() {
        throw new Error('status')
      },
    }),
    1011,
  ],
  [
    'an error with a number as its message',
    Object.assign(new Error('x'), { status: 403, expose: true, message: 5 }),
    4403,
  ],
  ['an error with a fractional status', Object.assign(new Error('x'), { status: 400.5 }), 1011],
  ['an object without a prototype', Object.create(null), 1011],
  ['a symbol', Symbol('x'), 1011],
]

describe('odd and hostile behavior', () => {
  afterEach(cleanUp)

  for (const [what, thrown, code] of odd) {
    it(`${what}, thrown by a handler or a listener, closes with ${code} and is reported once`, async () => {
      for (const where of ['handler', 'async handler', 'listener', 'async listener']) {
        const { port, errors } = await serve((app) =>
          app.use(
            accept((connection): unknown => {
              if (where === 'handler') throw thrown
              if (where === 'async handler') return Promise.reject(thrown)
              connection.on('message', () => {
                if (where === 'listener') throw thrown
                return Promise.reject(thrown)
              })
              return undefined
            }),
          ),
        )
        const socket = await openSocket(port)
        socket.send('x')
        expect((await socket.closed).code, where).to.equal(code)
        expect(errors.length, where).to.equal(1)
        await cleanUp()
      }
    })
  }

  it('an error listener of the app that throws null does not change the close with 1011', async () => {
    const { port, app } = await serve((app) =>
      app.use(
        accept(() => {
          throw new Error('x')
        }),
      ),
    )
    app.on('error', () => {
      throw null
    })
    expect((await (await openSocket(port)).closed).code).to.equal(1011)
  })

  it('null and undefined, thrown in the chain, are answered with 500', async () => {
    for (const thrown of [null, undefined]) {
      const { port, errors } = await serve(
        (app) =>
          app.use(() => {
            throw thrown
          }),
        { attach: true },
      )
      expect((await rejected(openSocket(port))).status).to.equal(500)
      expect(errors).to.have.length(1)
      await cleanUp()
    }
  })

  const raw: [what: string, act: (ctx: import('koa').Context) => void, status: number][] = [
    ['writeHead(101) and end', (ctx) => ctx.res.writeHead(101).end('stray'), 500],
    [
      'write with status 101',
      (ctx) => {
        ctx.res.statusCode = 101
        ctx.res.write('stray')
        ctx.res.end('more')
      },
      500,
    ],
    [
      'flushHeaders with status 101',
      (ctx) => {
        ctx.res.statusCode = 101
        ctx.res.flushHeaders()
        ctx.res.end('more')
      },
      500,
    ],
    [
      'a flat array of headers',
      (ctx) =>
        ctx.res.writeHead(401, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'] as never).end('no'),
      401,
    ],
    [
      'flushHeaders and a stream',
      (ctx) => {
        ctx.res.statusCode = 401
        ctx.res.flushHeaders()
        big().pipe(ctx.res)
      },
      401,
    ],
    [
      'writeHead and a stream',
      (ctx) => {
        ctx.res.writeHead(401)
        big().pipe(ctx.res)
      },
      401,
    ],
  ]
  for (const [what, act, status] of raw) {
    it(`a response written by hand (${what}) is complete, with status ${status}`, async () => {
      const { port } = await serve((app) =>
        app.use((ctx) => {
          ctx.respond = false
          act(ctx)
        }),
      )
      for (let i = 0; i < 2; i++) {
        const answer = await rejected(openSocket(port))
        expect(answer.status).to.equal(status)
        expect(answer.body).to.not.include('stray')
        if (what.includes('stream')) expect(answer.body.length).to.equal(40 * 64 * 1024)
        if (what.includes('flat'))
          expect(answer.headers['set-cookie']).to.deep.equal(['a=1', 'b=2'])
      }
    })
  }

  it('writes to the response after a 503 of koaws have no effect, and do not throw', async () => {
    const late = deferred()
    const { port, errors } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.respond = false
          ctx.ws?.signal.addEventListener('abort', () =>
            setImmediate(() => {
              ctx.res.setHeader('x', 'y')
              ctx.cookies.set('a', 'b')
              ctx.res.writeHead(200)
              ctx.res.write('late')
              ctx.res.end('late')
              late.resolve()
            }),
          )
        }),
      { handshakeTimeout: 100, attach: true },
    )
    expect((await rejected(openSocket(port))).status).to.equal(503)
    await late.promise
    expect(errors).to.deep.equal([])
  })

  it('option functions that return a promise are answered with 500, without an unhandled rejection', async () => {
    const fail = (async () => {
      throw new Error('async')
    }) as never
    for (const name of ['user', 'expiresAt', 'rooms', 'subprotocol']) {
      const { port, errors } = await serve((app) => app.use(accept(() => {}, { [name]: fail })))
      expect((await rejected(openSocket(port, '/', { protocols: ['a'] }))).status, name).to.equal(
        500,
      )
      expect(errors[0]?.error.message, name).to.include(`"${name}" must be synchronous`)
      await cleanUp()
    }
    for (const options of [
      { origin: fail },
      { filter: fail },
      { maxPerAddress: 1, address: fail },
    ] as KoaWsOptions[]) {
      for (const attach of [true, false]) {
        const { port, hub } = await serve((app) => app.use(accept(() => {})), {
          ...options,
          attach,
        })
        const status = (
          await rejected(
            openSocket(
              port,
              '/',
              options.origin ? { headers: { origin: 'http://a.example' } } : {},
            ),
          )
        ).status
        expect(status, inspect(options)).to.equal(500)
        expect(hub.localConnections.size).to.equal(0)
        await cleanUp()
      }
    }
  })

  it('null thrown by option functions is answered with 500', async () => {
    const fail = (): never => {
      throw null
    }
    for (const options of [
      { origin: fail },
      { filter: fail },
      { maxPerAddress: 1, address: fail },
    ]) {
      for (const attach of [true, false]) {
        const { port } = await serve((app) => app.use(accept(() => {})), { ...options, attach })
        const headers: Record<string, string> =
          'origin' in options ? { origin: 'http://a.example' } : {}
        expect((await rejected(openSocket(port, '/', { headers }))).status).to.equal(500)
        await cleanUp()
      }
    }
  })

  it('an upgrade that the filter declines is an ordinary request without another listener', async () => {
    for (const attach of [true, false]) {
      const { port } = await serve(
        (app) =>
          app.use((ctx) => {
            ctx.body = `ws ${ctx.ws}`
          }),
        { filter: () => false, attach },
      )
      for (let i = 0; i < 2; i++) {
        const { status, body } = await rejected(openSocket(port))
        expect([status, body]).to.deep.equal([200, 'ws undefined'])
      }
      await cleanUp()
    }
  })

  it('beside another listener a streamed 404 is sent at once, and a complete one after a delay', async () => {
    const { port, server } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.status = 404
          ctx.body = ctx.path === '/stream' ? big() : 'nothing here'
        }),
      { attach: true },
    )
    server.on('upgrade', () => {})
    expect((await rejected(openSocket(port, '/stream'))).body.length).to.equal(40 * 64 * 1024)
    const started = Date.now()
    expect((await rejected(openSocket(port, '/text'))).body).to.equal('nothing here')
    expect(Date.now() - started).to.be.at.least(600)
  })

  it('a first upgrade behind a slow answer, reset by its client, leaves no chain pending', async () => {
    let started = 0
    let settled = 0
    const release = deferred()
    const { port } = await serve(
      (app) =>
        app.use(async (ctx) => {
          if (ctx.path === '/slow') await release.promise
          ctx.body = 'x'
        }),
      {
        before: (app) =>
          app.use(async (_ctx, next) => {
            started++
            await turn()
            try {
              await next()
            } finally {
              settled++
            }
          }),
      },
    )
    for (let i = 0; i < 10; i++) {
      const client = await rawClient(port)
      client.write(`GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n${handshake('/ws')}`)
      for (let j = 0; j < 10; j++) await turn()
      client.reset()
    }
    await turn()
    release.resolve()
    await eventually(() => started > 0 && settled === started, 'every chain')
  })

  it('a malformed first upgrade gets a complete streamed error page', async () => {
    const { port } = await serve(() => {}, {
      before: (app) =>
        app.use(async (ctx, next) => {
          try {
            await next()
          } catch (error) {
            ctx.status = (error as KoaWsError).status as number
            ctx.body = big()
          }
        }),
    })
    const client = await rawClient(port)
    client.write(handshake('/', { 'Sec-WebSocket-Version': '8' }))
    const { status, body } = await client.answer()
    expect([status, body.length]).to.deep.equal([426, 40 * 64 * 1024])
    await client.end()
  })

  it('a client that reads nothing of its answer is ended after another handshakeTimeout', async () => {
    const { port, hub } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.status = 401
          ctx.body = Buffer.alloc(30_000_000)
        }),
      { handshakeTimeout: 1_000, maxConnections: 1, attach: true },
    )
    const client = await rawClient(port)
    client.socket.pause()
    client.write(handshake('/'))
    await eventually(() => (hub.status().drops['deadline'] ?? 0) > 0, 'the end')
    await eventually(() => hub.status().pending === 0)
    expect((await rejected(openSocket(port))).status).to.equal(401)
  })

  describe('onConnect', () => {
    it('that never settles blocks nothing once the client has left', async () => {
      for (const inside of [true, false]) {
        const result = deferred<string>()
        const { port, hub } = await serve(
          (app) =>
            app.use(async (ctx) => {
              const ws = ctx.ws as NonNullable<typeof ctx.ws>
              if (inside) await ws().catch((error: KoaWsError) => result.resolve(error.code))
              else ws(() => result.resolve('handled'))
            }),
          {
            onConnect: () => new Promise(() => {}),
            onDisconnect: () => result.resolve('disconnected'),
          },
        )
        const client = await rawClient(port)
        client.write(handshake('/'))
        await client.answer()
        client.reset()
        expect(await result.promise).to.be.oneOf(['ERR_KOAWS_CLIENT_GONE', 'disconnected'])
        await eventually(() => hub.localConnections.size === 0)
        await cleanUp()
      }
    })

    for (const asynchronous of [true, false]) {
      it(`that ${asynchronous ? 'rejects' : 'throws'} keeps the handler from running, and drops messages`, async () => {
        for (const inside of [true, false]) {
          const ran: string[] = []
          const { port, errors } = await serve(
            (app) =>
              app.use(async (ctx) => {
                const ws = ctx.ws as NonNullable<typeof ctx.ws>
                const run = (connection: Connection): unknown =>
                  connection.on('message', (data) => ran.push(String(data)))
                if (!inside) ws(run)
                else run(await ws())
              }),
            {
              onConnect: () => {
                const error = Object.assign(new Error('not you'), { status: 403, expose: true })
                if (asynchronous) return Promise.reject(error)
                throw error
              },
            },
          )
          const client = await rawClient(port)
          client.socket.write(handshake('/'))
          await client.answer()
          client.socket.write(Buffer.concat([textFrame('evil'), textFrame('evil')]))
          expect(await client.closeCode()).to.equal(4403)
          client.socket.write(closeFrame(4403))
          await client.end()
          expect(ran).to.deep.equal([])
          expect(errors.filter(({ error }) => error.message === 'not you')).to.have.length(1)
          await cleanUp()
        }
      })
    }
  })

  it('a connection gets no message after a handler or listener threw, its authorization expired, or its user changed', async () => {
    for (const why of ['threw', 'expired', 'user', 'listener']) {
      const heard: string[] = []
      const closing = deferred()
      const { port, hub, errors } = await serve((app) =>
        app.use(
          accept(
            (connection) => {
              connection.on('message', (data) => {
                heard.push(String(data))
                if (why === 'listener') throw new Error('listener')
              })
              if (why === 'user') connection.refresh({ userId: 'other' })
              if (why === 'threw') throw new Error('handler')
            },
            why === 'expired' ? { expiresAt: () => Date.now() + 50 } : {},
          ),
        ),
      )
      const client = await rawClient(port)
      client.write(handshake('/'))
      await client.answer()
      if (why !== 'listener') await client.closeCode()
      for (let i = 0; i < 20; i++) client.socket.write(textFrame('late'))
      if (why === 'listener') await client.closeCode()
      client.socket.write(closeFrame(1000))
      await client.end()
      closing.resolve()
      expect(heard.length, why).to.equal(why === 'listener' ? 1 : 0)
      expect(errors.length, why).to.equal(why === 'threw' || why === 'listener' ? 1 : 0)
      expect(hub.status().drops['unheard'], why).to.be.above(10)
      await cleanUp()
    }
  })

  it('maxPerAddress counts the address of ctx.ip, with proxyIpHeader and maxIpsCount', async () => {
    const { app } = makeApp()
    Object.assign(app, { proxy: true, proxyIpHeader: 'X-Real-IP', maxIpsCount: 1 })
    const hub = makeHub({ maxPerAddress: 1 })
    app.use(hub)
    app.use(accept((connection) => connection.send(connection.ip)))
    const port = await listen(createServer(app.callback()))
    const from = (real: string, forged: string): { headers: Record<string, string> } => ({
      headers: { 'x-real-ip': real, 'x-forwarded-for': forged },
    })
    const first = await openSocket(port, '/', from('6.6.6.6, 1.1.1.1', '9.9.9.9'))
    expect(await first.next()).to.equal('1.1.1.1')
    expect((await rejected(openSocket(port, '/', from('1.1.1.1', '8.8.8.8')))).status).to.equal(429)
    await openSocket(port, '/', from('2.2.2.2', '9.9.9.9'))
  })

  it('a rejection by close code occupies a place until it is closed', async () => {
    const { port, hub } = await serve((app) => app.use((ctx) => ctx.throw(403)), {
      reject: 'close',
      maxConnections: 1,
      attach: true,
      closeTimeout: 300,
    })
    const client = await rawClient(port) // does not answer the close frame
    client.write(handshake('/'))
    await client.answer()
    expect((await rejected(openSocket(port))).status).to.equal(503)
    await client.end()
    await turn()
    expect((await (await openSocket(port)).closed).code).to.equal(4403)
    expect(hub.status().drops).to.deep.equal({ maxConnections: 1 })
  })

  it('a credential is hidden when a request is printed, also behind "??"', async () => {
    const printed: string[] = []
    const { port } = await serve(
      (app) => {
        app.use(bearer({ query: 'token' }))
        app.use(
          accept((connection, ctx) => {
            printed.push(
              ctx.url,
              ctx.originalUrl,
              JSON.stringify(ctx.query),
              inspect(ctx.request, { depth: 3, showHidden: true }),
            )
            connection.send('x')
          }),
        )
      },
      {
        before: (app) =>
          app.use(
            (ctx, next) => (
              printed.push(inspect(ctx.req, { depth: 4 }), inspect(ctx.req.headersDistinct)), next()
            ),
          ),
      },
    )
    for (let i = 0; i < 2; i++) {
      await openSocket(port, '/a', {
        headers: { 'Sec-WebSocket-Protocol': 'koaws.bearer.SECRET' },
      }).catch(() => {})
      await openSocket(port, '/b??token=SECRET')
    }
    expect(printed.filter((text) => text.includes('koaws.bearer.SECRET'))).to.deep.equal([])
    expect(printed.filter((text) => text.startsWith('/b')).join()).to.not.include('SECRET')
  })

  it('an alternative in a RegExp of origins matches only whole origins', async () => {
    const { port } = await serve((app) => app.use(accept(() => {})), {
      origin: [/^https:\/\/a\.com|b\.com$/],
    })
    for (const origin of ['https://evilb.com', 'https://a.com.evil.com']) {
      expect((await rejected(openSocket(port, '/', { headers: { origin } }))).status).to.equal(403)
    }
    await openSocket(port, '/', { headers: { origin: 'https://a.com' } })
  })

  it('ending the response by hand inside the chain still accepts, without an error', async () => {
    const { port, errors } = await serve((app) =>
      app.use(async (ctx) => {
        ctx.ws?.(async (connection) => {
          await turn()
          connection.on('message', (data) => connection.send(data as Buffer))
        })
        ctx.res.end()
        await turn()
      }),
    )
    for (let i = 0; i < 2; i++) {
      const socket = await openSocket(port)
      socket.send('kept')
      expect(String(await socket.next())).to.equal('kept')
    }
    expect(errors).to.deep.equal([])
  })

  it('h2c requests leave no listener on their connection', async () => {
    const { port, server } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.body = 'x'
        }),
      { attach: true },
    )
    const connections: EventEmitter[] = []
    server.on('connection', (socket) => connections.push(socket))
    const client = await rawClient(port)
    const counts = []
    for (let i = 0; i < 12; i++) {
      client.write(
        'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
      )
      await client.answer()
      counts.push(connections[0]?.listenerCount('error'))
    }
    expect(counts.at(-1)).to.equal(counts[1])
  })

  it('a first upgrade reports no other error than the departure of its client', async () => {
    const { port, errors } = await serve((app) => app.use(accept(() => {})), {
      before: (app) =>
        app.use(async (_ctx, next) => {
          for (let i = 0; i < 5; i++) await turn()
          await next()
        }),
    })
    const client = await rawClient(port)
    client.write(handshake('/'))
    await turn()
    client.reset()
    await eventually(() => errors.length > 0)
    for (const { error } of errors) {
      expect(error['code']).to.be.oneOf(['ERR_KOAWS_CLIENT_GONE', 'ECONNRESET'])
    }
  })

  it('hub.close() lets a rejection in transit finish', async () => {
    const { port, hub } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.status = 403
          ctx.body = Readable.from(Array.from({ length: 400 }, () => Buffer.alloc(64 * 1024, 'x')))
        }),
      { attach: true },
    )
    const client = await rawClient(port)
    client.socket.pause()
    client.write(handshake('/'))
    await eventually(() => hub.status().pending === 1)
    const closing = hub.close({ timeout: 60_000 })
    client.socket.resume()
    expect((await client.answer()).body.length).to.equal(400 * 64 * 1024)
    await closing
  })

  it('resume() on a full inbox does not open it for ever', async () => {
    const paused = deferred()
    const { port } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          await eventually(() => connection.isPaused)
          connection.resume()
          await eventually(() => connection.isPaused, 'the second pause')
          paused.resolve()
          await once(connection, 'close')
        }),
      ),
    )
    const socket = await openSocket(port)
    for (let i = 0; i < 2_000; i++) socket.send(Buffer.alloc(4096))
    await paused.promise
  })

  it('messages of a client that sends and leaves are delivered after a slow onConnect', async () => {
    for (const inside of [true, false]) {
      const heard: string[] = []
      const done = deferred()
      const listen = (connection: Connection): void => {
        connection.on('message', (data) => heard.push(String(data)))
        connection.on('close', (code) => {
          heard.push(`close ${code}`)
          done.resolve()
        })
      }
      const { port } = await serve(
        (app) =>
          app.use(async (ctx) => {
            const ws = ctx.ws as NonNullable<typeof ctx.ws>
            if (inside) listen(await ws())
            else ws(listen)
          }),
        { attach: true, onConnect: () => new Promise((resolve) => setTimeout(resolve, 50)) },
      )
      const client = await rawClient(port)
      const all = [
        Buffer.from(handshake('/')),
        textFrame('one'),
        textFrame('two'),
        closeFrame(1000),
      ]
      client.socket.write(Buffer.concat(all))
      await done.promise
      expect(heard).to.deep.equal(['one', 'two', 'close 1000'])
      await cleanUp()
    }
  })

  it('a message loop gets no message after a close by koaws', async () => {
    const seen: string[] = []
    const over = deferred()
    const { port, hub } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          for await (const message of connection) {
            seen.push(String(message))
            await turn()
            await turn()
            connection.refresh({ userId: 'other' })
          }
          over.resolve()
        }),
      ),
    )
    const client = await rawClient(port)
    client.socket.write(handshake('/'))
    await client.answer()
    client.socket.write(Buffer.concat(Array.from({ length: 8 }, (_, i) => textFrame(`m${i}`))))
    await over.promise
    expect(seen).to.deep.equal(['m0'])
    expect(hub.status().drops['unheard']).to.be.above(5)
  })

  it('a message loop pauses reading again after resume()', async () => {
    const again = deferred()
    const release = deferred()
    const { port } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          for await (const _ of connection) {
            await eventually(() => connection.isPaused)
            connection.resume()
            await eventually(() => connection.isPaused, 'the second pause')
            again.resolve()
            await release.promise
            break
          }
        }),
      ),
    )
    const socket = await openSocket(port)
    for (let i = 0; i < 3_000; i++) socket.send(Buffer.alloc(4096))
    await again.promise
    release.resolve()
  })

  it('a reset behind a slow answer of another handler does not end the process', async () => {
    const { app } = makeApp()
    const hub = makeHub({ filter: (req) => req.url !== '/declined' })
    app.use(hub)
    const slow: (() => void)[] = []
    const server = createServer((req, res) => {
      if (req.url === '/slow') slow.push(() => res.end('slow'))
      else app.callback()(req, res)
    })
    const port = await listen(hub.attach(server))
    const h2c = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'
    for (const second of [h2c, handshake('/declined'), handshake('/')]) {
      const client = await rawClient(port)
      client.write(`GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n${second}`)
      await eventually(() => slow.length > 0)
      for (let i = 0; i < 5; i++) await turn()
      client.reset()
      for (let i = 0; i < 20; i++) await turn()
      slow.pop()?.()
    }
    expect((await rejected(openSocket(port))).status).to.equal(404)
  })

  it('a filter that throws leaves a neighbor its socket', async () => {
    const { app } = makeApp()
    const hub = makeHub({
      filter: () => {
        throw new Error('filter')
      },
    })
    app.use(hub)
    const server = createServer(app.callback())
    const wss = new WebSocketServer({ noServer: true })
    server.on('upgrade', (req, socket, head) => {
      if (req.url === '/theirs') wss.handleUpgrade(req, socket, head, (ws) => ws.send('theirs'))
    })
    const port = await listen(hub.attach(server))
    expect(await (await openSocket(port, '/theirs')).next()).to.equal('theirs')
    expect((await rejected(openSocket(port, '/ours'))).status).to.equal(500)
  })

  it('callbacks of late writes are called, and stream.finished() completes', async () => {
    const results: string[] = []
    const { port } = await serve(
      (app) =>
        app.use(async (ctx) => {
          const { res } = ctx
          await ctx.ws?.()
          await new Promise<void>((resolve) => res.end(resolve))
          await new Promise<void>((resolve) => res.write('x', () => resolve()))
          await new Promise<void>((resolve) => finished(res, () => resolve()))
          results.push('done')
        }),
      { attach: true },
    )
    await openSocket(port)
    await eventually(() => results.length === 1)
  })

  it('a 101 as a string or a fraction is answered with 500', async () => {
    for (const status of ['101', 101.5]) {
      const { port } = await serve((app) =>
        app.use((ctx) => {
          ctx.respond = false
          ctx.res.statusCode = status as number
          ctx.res.end()
        }),
      )
      expect((await rejected(openSocket(port))).status).to.equal(500)
    }
  })

  it('hub.close({ server: true }) ends an endless answer at its deadline', async () => {
    const { port, hub, server } = await serve(
      (app) =>
        app.use((ctx) => {
          ctx.status = 401
          ctx.body = new Readable({
            read() {
              setImmediate(() => this.push('x'))
            },
          })
        }),
      { attach: true },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    await eventually(() => hub.status().pending === 1)
    await hub.close({ server: true, timeout: 200 })
    expect(hub.status().pending).to.equal(0)
    expect(server.listening).to.equal(false)
    await client.end()
  })

  it('a refresh after the close has no effect', async () => {
    const made = deferred<Connection>()
    const { port } = await serve((app) => app.use(accept((connection) => made.resolve(connection))))
    const socket = await openSocket(port)
    const connection = await made.promise
    socket.terminate()
    await connection.closed
    connection.refresh({ expiresAt: Date.now() + 3_600_000 })
    expect(connection.expiresAt).to.equal(null)
    expect(connection.ip).to.equal('127.0.0.1')
  })
})
