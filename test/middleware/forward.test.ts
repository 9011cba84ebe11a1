import { once } from 'node:events'
import { createServer, IncomingMessage } from 'node:http'
import { expect } from 'chai'
import type Koa from 'koa'
import { WebSocket, WebSocketServer } from 'ws'
import {
  accept,
  bySubprotocol,
  type Connection,
  forward,
  type Hub,
  type KoaWsOptions,
} from '../../lib/index.ts'
import { frame, handshake, pingFrame, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  eventually,
  listen,
  openSocket,
  rejected,
  serve,
  turn,
} from '../support/server.ts'

type WssOptions = NonNullable<ConstructorParameters<typeof WebSocketServer>[0]>

/** ws 8.21 lacks this option. */
const HAS_MAX_PENDING_AUTO_PONGS =
  'maxPendingAutoPongs' in new WebSocketServer({ noServer: true }).options

/** A way to serve a WebSocketServer: on a server of its own, as ws documents, or behind `forward()`. */
interface Way {
  readonly name: string
  serve(wss: WebSocketServer): Promise<number>
}

const plainWs: Way = {
  name: 'plain ws',
  async serve(wss) {
    const server = createServer()
    server.on('upgrade', (req, socket, head) =>
      wss.handleUpgrade(req, socket, head, (ws) => wss.emit('connection', ws, req)),
    )
    return listen(server)
  },
}

const forwarding = (
  name: string,
  mount: (app: Koa, hub: Hub, wss: WebSocketServer) => void,
): Way => ({
  name,
  async serve(wss) {
    return (await serve((app, hub) => mount(app, hub, wss))).port
  },
})

const accepted = forwarding('accept(forward(wss))', (app, _hub, wss) =>
  app.use(accept(forward(wss))),
)

const ways: Way[] = [
  plainWs,
  accepted,
  forwarding('ctx.ws(forward(wss))', (app, _hub, wss) => {
    const handler = forward(wss)
    app.use((ctx) => (ctx as unknown as { ws: (handler: unknown) => void }).ws(handler))
  }),
]

function make(options: WssOptions = {}): WebSocketServer {
  const wss = new WebSocketServer({ noServer: true, ...options })
  // With plain ws an error without a listener ends the process.
  wss.on('connection', (ws) => ws.on('error', () => {}))
  return wss
}

const nextConnection = async (wss: WebSocketServer): Promise<WebSocket> =>
  (await once(wss, 'connection'))[0] as WebSocket

/** The status of an upgrade that may be answered with 101. */
async function statusOf(port: number, headers: Record<string, string> = {}): Promise<number> {
  const client = await rawClient(port)
  client.write(handshake('/', headers))
  return (await client.answer()).status
}

describe('forward(wss)', () => {
  afterEach(cleanUp)

  for (const way of ways) {
    describe(`wss.close() with ${way.name}`, () => {
      it('calls back and emits close without clients', async () => {
        const wss = make()
        await way.serve(wss)
        const events: string[] = []
        wss.on('close', () => events.push('close'))
        await new Promise<void>((resolve) => wss.close(() => resolve()))
        expect(events).to.deep.equal(['close'])
      })

      it('calls back once the last client has left, and answers later upgrades with 503', async () => {
        const wss = make()
        const port = await way.serve(wss)
        const sockets = [await openSocket(port), await openSocket(port)]
        const called: string[] = []
        wss.on('close', () => called.push('event'))
        wss.close(() => called.push('first'))
        wss.close(() => called.push('second'))
        expect(await statusOf(port)).to.equal(503)
        sockets[0]?.close()
        await sockets[0]?.closed
        await eventually(() => wss.clients.size === 1, 'one client')
        await turn()
        expect(called).to.deep.equal([])
        const [server] = [...wss.clients]
        server?.send('still served')
        expect(await sockets[1]?.next()).to.equal('still served')
        sockets[1]?.terminate()
        await eventually(() => called.length === 3, 'the callbacks')
        expect(called).to.deep.equal(['event', 'first', 'second'])
        expect(await statusOf(port)).to.equal(503)
      })

      it('gives an error to the callback of another close() afterwards', async () => {
        const wss = make()
        const port = await way.serve(wss)
        const socket = await openSocket(port)
        const closed = new Promise((resolve) => wss.close(resolve))
        socket.close()
        expect(await closed).to.equal(undefined)
        const again = await new Promise<Error | undefined>((resolve) => wss.close(resolve))
        expect(again?.message).to.equal('The server is not running')
      })

      it('calls back with connected clients when clientTracking is false', async () => {
        const wss = make({ clientTracking: false })
        const port = await way.serve(wss)
        const socket = await openSocket(port)
        await new Promise<void>((resolve) => wss.close(() => resolve()))
        expect(socket.readyState).to.equal(1)
        expect(await statusOf(port)).to.equal(503)
      })

      it('before the first upgrade answers it with 503', async () => {
        const wss = make()
        wss.close()
        const port = await way.serve(wss)
        expect(await statusOf(port)).to.equal(503)
      })
    })
  }

  it('answers 503 when wss.close() is called while the chain runs', async () => {
    const wss = make()
    const { port } = await serve((app) => {
      app.use(async (_ctx, next) => {
        await next()
        wss.close()
      })
      app.use(accept(forward(wss)))
    })
    const error = await rejected(openSocket(port))
    expect(error.status).to.equal(503)
    expect(error.headers['retry-after']).to.equal('5')
  })

  it('closes with 1012 a client that onConnect accepts after wss.close()', async () => {
    const gate = deferred()
    const asked = deferred()
    const wss = make()
    const seen: unknown[] = []
    wss.on('connection', (ws) => seen.push(ws))
    const { port } = await serve((app) => app.use(accept(forward(wss))), {
      onConnect: async () => {
        asked.resolve()
        await gate.promise
      },
    })
    const socket = await openSocket(port)
    await asked.promise
    expect(wss.clients.size, 'nothing that is sent to all reaches it yet').to.equal(0)
    await new Promise<void>((resolve) => wss.close(() => resolve()))
    gate.resolve()
    expect((await socket.closed).code).to.equal(1012)
    expect(seen).to.deep.equal([])
  })

  describe('the subprotocol', () => {
    const choosers: [string, WssOptions['handleProtocols']][] = [
      ['there is no handleProtocols', undefined],
      ['handleProtocols returns the second', (offered) => [...offered][1] as string],
      ['handleProtocols returns false', () => false],
      ['handleProtocols returns undefined', () => undefined as never],
      ['handleProtocols returns null', () => null as never],
      ['handleProtocols returns an empty string', () => ''],
      ['handleProtocols returns 0', () => 0 as never],
      ['handleProtocols returns a name that was not offered', () => 'never-offered'],
    ]
    const offers: [string, string | undefined][] = [
      ['two', 'one, two'],
      ['none', undefined],
    ]
    for (const [when, handleProtocols] of choosers) {
      for (const [offering, header] of offers) {
        it(`is the same as with plain ws when ${when} and the client offers ${offering}`, async () => {
          const results: unknown[] = []
          for (const way of ways) {
            const calls: unknown[] = []
            const wss = make(
              handleProtocols
                ? {
                    handleProtocols: (offered, req) => {
                      calls.push([...offered], req instanceof IncomingMessage)
                      return handleProtocols(offered, req)
                    },
                  }
                : {},
            )
            const port = await way.serve(wss)
            const connection = nextConnection(wss)
            const client = await rawClient(port)
            client.write(handshake('/', header ? { 'Sec-WebSocket-Protocol': header } : {}))
            const { status, headers } = await client.answer()
            const { protocol } = await connection
            results.push({ status, told: headers.get('sec-websocket-protocol'), protocol, calls })
          }
          expect(results[1]).to.deep.equal(results[0])
          expect(results[2]).to.deep.equal(results[0])
          expect(results[0]).to.include({ status: 101 })
        })
      }
    }

    it('is not chosen when handleProtocols throws, and the answer is 500', async () => {
      const wss = make({
        handleProtocols: () => {
          throw new Error('broken')
        },
      })
      const { port, errors } = await serve((app) => app.use(accept(forward(wss))))
      expect(await statusOf(port, { 'Sec-WebSocket-Protocol': 'one' })).to.equal(500)
      expect(errors[0]?.error.message).to.equal('broken')
    })
  })

  describe('the request that a "connection" listener gets', () => {
    it("is Node's own, with the properties that middleware has set on ctx.req", async () => {
      const wss = make()
      let before: unknown
      const { port } = await serve((app) => {
        app.use(async (ctx, next) => {
          before = ctx.req
          Object.assign(ctx.req, { session: { user: 'ada' } })
          const { url } = ctx
          ctx.url = '/rewritten'
          await next()
          ctx.url = url
        })
        app.use(accept(forward(wss)))
      })
      const connected = once(wss, 'connection')
      const socket = await openSocket(port, '/chat?room=1', { headers: { 'X-Own': 'Mixed Case' } })
      const [, req] = (await connected) as [Connection, IncomingMessage & { session?: unknown }]
      expect(req).to.equal(before)
      expect(req).to.be.an.instanceOf(IncomingMessage)
      expect(req.session).to.deep.equal({ user: 'ada' })
      expect(req.url).to.equal('/chat?room=1')
      expect(req.headers['x-own']).to.equal('Mixed Case')
      expect(req.rawHeaders).to.include('X-Own')
      expect(req.socket.remoteAddress).to.equal('127.0.0.1')
      expect(req.socket.localPort).to.equal(port)
      socket.close()
    })

    it("is Node's own behind bySubprotocol() and after an asynchronous onConnect", async () => {
      const wss = make()
      const handler = bySubprotocol({ one: forward(wss) })
      const { port } = await serve((app) => app.use(accept(handler)), { onConnect: () => turn() })
      const connected = once(wss, 'connection')
      await openSocket(port, '/', { protocols: ['one'] })
      expect(((await connected) as unknown[])[1]).to.be.an.instanceOf(IncomingMessage)
    })

    it("is Node's own when the handler runs inside the chain", async () => {
      const wss = make()
      const handler = forward(wss)
      const { port } = await serve((app) => {
        app.use(async (ctx) => {
          await handler(await (ctx as unknown as { ws(): Promise<Connection> }).ws(), ctx as never)
        })
      })
      const connected = once(wss, 'connection')
      await openSocket(port)
      expect(((await connected) as unknown[])[1]).to.be.an.instanceOf(IncomingMessage)
    })
  })

  describe('the options of the WebSocketServer', () => {
    /** What a client sees of one connection. */
    interface Seen {
      [what: string]: unknown
    }
    const big = frame(2, Buffer.alloc(2000))
    const masked = (payload: Buffer) => frame(1, payload)
    const observe: Record<
      string,
      { options: WssOptions; see(port: number, wss: WebSocketServer): Promise<Seen> }
    > = {
      maxPayload: { options: { maxPayload: 1000 }, see: (port) => closeAfter(port, big) },
      'maxPayload above that of the plugin': {
        options: { maxPayload: 3_000_000 },
        see: (port, wss) => received(port, wss, frame(2, Buffer.alloc(2_500_000))),
      },
      maxFragments: {
        options: { maxFragments: 2 },
        see: (port) =>
          closeAfter(
            port,
            Buffer.concat([frame(1, 'a', false), frame(0, 'b', false), frame(0, 'c')]),
          ),
      },
      maxBufferedChunks: {
        options: { maxBufferedChunks: 2 },
        see: async (port) => {
          const client = await open(port)
          const bytes = frame(2, Buffer.alloc(100))
          for (const byte of bytes.subarray(0, 20)) {
            client.write(Buffer.from([byte]))
            await turn()
            await new Promise((resolve) => setTimeout(resolve, 5))
          }
          return { code: await client.closeCode() }
        },
      },
      skipUTF8Validation: {
        options: { skipUTF8Validation: true },
        see: (port, wss) => received(port, wss, masked(Buffer.from([0xff, 0xfe]))),
      },
      autoPong: {
        options: { autoPong: false },
        see: async (port, wss) => {
          const connection = nextConnection(wss)
          const client = await open(port)
          const ping = once(await connection, 'ping')
          client.write(pingFrame('no answer'))
          await ping
          ;(await connection).send('after it')
          return { ...(await client.frame()) }
        },
      },
      maxPendingAutoPongs: {
        options: { maxPendingAutoPongs: 1 } as WssOptions,
        see: async (port) => {
          const client = await open(port)
          client.write(Buffer.concat([pingFrame('1'), pingFrame('2'), pingFrame('3')]))
          await client.end()
          return { ended: client.ended }
        },
      },
      perMessageDeflate: {
        options: { perMessageDeflate: { serverNoContextTakeover: true, threshold: 10 } },
        see: async (port, wss) => {
          const connection = nextConnection(wss)
          const socket = await openSocket(port)
          ;(await connection).send('x'.repeat(1000))
          return { extensions: socket.extensions, message: await socket.next() }
        },
      },
      allowSynchronousEvents: {
        options: { allowSynchronousEvents: false },
        see: async (port, wss) => {
          const connection = nextConnection(wss)
          const client = await open(port)
          const order: string[] = []
          const two = deferred()
          ;(await connection).on('message', (data) => {
            order.push(String(data))
            Promise.resolve().then(() => order.push('microtask'))
            if (order.length > 2) two.resolve()
          })
          client.write(Buffer.concat([frame(1, 'one'), frame(1, 'two')]))
          await two.promise
          await turn()
          return { order }
        },
      },
      closeTimeout: {
        options: { closeTimeout: 120 } as WssOptions,
        see: async (port, wss) => {
          const connection = nextConnection(wss)
          const client = await open(port)
          const server = await connection
          const closed = once(server, 'close')
          server.close(4000)
          await closed // the client never answers
          return { code: await client.closeCode() }
        },
      },
      clientTracking: {
        options: { clientTracking: false },
        see: async (port, wss) => {
          const connection = nextConnection(wss)
          await open(port)
          await connection
          return { clients: wss.clients }
        },
      },
      'the event headers': {
        options: {},
        see: async (port, wss) => {
          let req: unknown
          wss.on('headers', (lines, request) => {
            req = request
            lines.push('X-Added: by a listener', 'Set-Cookie: a=1', 'Set-Cookie: b=2')
          })
          const client = await rawClient(port)
          client.write(handshake('/'))
          const { headers } = await client.answer()
          return {
            node: req instanceof IncomingMessage,
            added: headers.get('x-added'),
            cookies: headers.get('set-cookie'),
          }
        },
      },
    }

    if (!HAS_MAX_PENDING_AUTO_PONGS) Reflect.deleteProperty(observe, 'maxPendingAutoPongs')

    for (const [what, { options, see }] of Object.entries(observe)) {
      it(`apply as with plain ws: ${what}`, async () => {
        const results: Seen[] = []
        for (const way of ways) {
          const wss = make(options)
          results.push(await see(await way.serve(wss), wss))
        }
        expect(results[1]).to.deep.equal(results[0])
        expect(results[2]).to.deep.equal(results[0])
      })
    }

    it('apply behind bySubprotocol()', async () => {
      const wss = make({ maxPayload: 1000 })
      const other = make()
      const { port } = await serve((app) =>
        app.use(accept(bySubprotocol({ small: forward(wss), large: forward(other) }))),
      )
      const small = await openSocket(port, '/', { protocols: ['small'] })
      const got = nextMessage(other)
      const large = await openSocket(port, '/', { protocols: ['large'] })
      small.send(Buffer.alloc(2000))
      large.send(Buffer.alloc(2000))
      expect((await small.closed).code).to.equal(1009)
      expect(await got).to.have.length(2000)
    })

    it('yield to the options of accept(), and unset ones to the options of the plugin', async () => {
      const limits = async (wssOptions: WssOptions, route: object, plugin: KoaWsOptions) => {
        const wss = make(wssOptions)
        const { port } = await serve((app) => app.use(accept(forward(wss), route)), plugin)
        const socket = await openSocket(port)
        socket.send(Buffer.alloc(2000))
        return (await socket.closed).code
      }
      expect(await limits({ maxPayload: 5000 }, { maxPayload: 1000 }, {})).to.equal(1009)
      expect(await limits({}, {}, { maxPayload: 1000 })).to.equal(1009)
    })
  })

  describe('wrong arguments', () => {
    const refused: Record<string, () => WebSocketServer> = {
      verifyClient: () => make({ verifyClient: () => false }),
      path: () => make({ path: '/chat' }),
      WebSocket: () => make({ WebSocket: class extends WebSocket {} as never }),
      server: () => new WebSocketServer({ server: createServer() }),
      host: () => make({ host: '127.0.0.1' }),
      backlog: () => make({ backlog: 5 }),
    }
    for (const [name, build] of Object.entries(refused)) {
      it(`throw, and the error names "${name}"`, () => {
        expect(() => forward(build())).to.throw(
          `forward(): koaws does not apply "${name}" of a WebSocketServer; `,
        )
      })
    }

    it('throw, and the error names "port"', () => {
      const wss = new WebSocketServer({ port: 0 })
      try {
        expect(() => forward(wss)).to.throw('"port"')
      } finally {
        wss.close()
      }
    })

    it('answer 500 when verifyClient is set after forward()', async () => {
      const wss = make()
      const { port, errors } = await serve((app) => app.use(accept(forward(wss))))
      wss.options.verifyClient = () => false
      expect(await statusOf(port)).to.equal(500)
      expect(errors[0]?.error.message).to.include('verifyClient')
    })

    it('other than a WebSocketServer throw', () => {
      for (const wrong of [undefined, null, {}, 'wss', () => {}]) {
        expect(() => forward(wrong as never)).to.throw(
          'forward() takes a WebSocketServer of ws, not',
        )
      }
    })

    it('include every option of ws that is not applied', () => {
      const known = Object.keys(make().options)
      const applied = [
        ...Object.keys({ maxPayload: 0, maxFragments: 0, maxBufferedChunks: 0 }),
      ].concat(
        'skipUTF8Validation',
        'autoPong',
        'maxPendingAutoPongs',
        'perMessageDeflate',
        'allowSynchronousEvents',
        'closeTimeout',
        'clientTracking',
        'handleProtocols',
        'noServer',
      )
      expect(known.filter((name) => !applied.includes(name) && !(name in refused))).to.deep.equal([
        'port',
      ])
    })

    it('do not include a WebSocketServer of another copy of ws', () => {
      class OtherWebSocket extends Object.getPrototypeOf(WebSocket) {}
      expect(() => forward(make({ WebSocket: OtherWebSocket as never }))).not.to.throw()
    })
  })

  async function open(port: number) {
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    return client
  }

  async function closeAfter(port: number, bytes: Buffer) {
    const client = await open(port)
    client.write(bytes)
    return { code: await client.closeCode() }
  }

  async function received(port: number, wss: WebSocketServer, bytes: Buffer) {
    const message = nextMessage(wss)
    const client = await open(port)
    client.write(bytes)
    return { message: await message }
  }

  async function nextMessage(wss: WebSocketServer): Promise<Buffer> {
    const connection = await nextConnection(wss)
    return (await once(connection, 'message'))[0] as Buffer
  }
})
