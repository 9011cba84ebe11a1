import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { accept, Connection, type Handler, KoaWsError, type KoaWsOptions } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { closeFrame, frame, handshake, rawClient, textFrame } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  eventually,
  openSocket,
  rejected,
  type Site,
  serve,
  turn,
} from '../support/server.ts'

describe('a connection', () => {
  afterEach(cleanUp)

  /** A site whose handler is given the connection; and the connection. */
  async function connected(
    handler: Handler = () => {},
    options: Parameters<typeof accept>[1] = {},
    hubOptions: KoaWsOptions = {},
  ): Promise<{ site: Site; socket: TestSocket; connection: Connection }> {
    const made = deferred<Connection>()
    const site = await serve(
      (app) =>
        app.use(
          accept(
            (connection, ctx) => (made.resolve(connection), handler(connection, ctx)),
            options,
          ),
        ),
      hubOptions,
    )
    const socket = await openSocket(site.port, '/path?x=1&y=a%20b')
    return { site, socket, connection: await made.promise }
  }

  it('is a ws WebSocket with the facts of its handshake', async () => {
    const before = Date.now()
    const { connection, site } = await connected(() => {}, { user: 7, rooms: (ctx) => [ctx.path] })
    expect(connection).to.be.an.instanceOf(WebSocket).and.of.instanceOf(Connection)
    expect(connection.id).to.match(/^[\w-]{20}$/)
    expect(connection.userId).to.equal('7')
    expect(connection.path).to.equal('/path')
    expect({ ...connection.query }).to.deep.equal({ x: '1', y: 'a b' })
    expect(connection.ip).to.equal('127.0.0.1')
    expect(connection.openedAt).to.be.within(before, Date.now())
    expect([...connection.rooms]).to.deep.equal(['/path'])
    expect(site.hub.localConnections.get(connection.id)).to.equal(connection)
  })

  it('joins and leaves rooms; the names are checked', async () => {
    const { connection, socket } = await connected()
    await connection.join('a', 'b')
    connection.leave('a', 'never')
    expect([...connection.rooms]).to.deep.equal(['b'])
    for (const name of ['', 'x'.repeat(256), 'é'.repeat(128), 5, null, undefined, {}]) {
      expect(() => connection.join(name as string)).to.throw(TypeError, '1 to 255 bytes')
    }
    connection.join('__proto__', 'constructor', 'x'.repeat(255))
    expect(connection.rooms.size).to.equal(4)
    const last = deferred<number>()
    connection.on('close', () => last.resolve(connection.rooms.size))
    socket.close()
    expect(await last.promise).to.equal(4)
    await connection.join('late')
    expect(connection.rooms.has('late')).to.equal(false)
  })

  it('accepted with hub: false is counted and closed like any other, and joins no room', async () => {
    const { connection, site } = await connected(() => {}, { hub: false })
    expect(() => connection.join('a')).to.throw(KoaWsError, 'hub: false')
    expect(site.hub.status().connections).to.equal(1)
    expect(() => accept(() => {}, { hub: false, rooms: ['a'] })).to.throw('contradicts')
    await site.hub.close()
    expect(await connection.closed).to.include({ code: 1012 })
  })

  it('sends JSON, text and binary, in order and in one write for each turn', async () => {
    const { connection, site } = await connected()
    const client = await rawClient(site.port)
    const made = deferred<Connection>()
    void made
    client.write(handshake('/'))
    await client.answer()
    const other = [...site.hub.localConnections.values()].find(
      (one) => one !== connection,
    ) as Connection
    let writes = 0
    client.socket.on('data', () => writes++)
    other.send('a')
    other.json({ b: 1 })
    other.send(Buffer.from('c'))
    other.send(new Uint8Array([100]).buffer)
    const frames = []
    for (let i = 0; i < 4; i++) frames.push(await client.frame())
    expect(frames.map(({ opcode, payload }) => [opcode, payload.toString()])).to.deep.equal([
      [1, 'a'],
      [1, '{"b":1}'],
      [2, 'c'],
      [2, 'd'],
    ])
    expect(writes).to.equal(1)
    expect(() => other.json(undefined)).to.throw(TypeError, 'JSON form')
    expect(() => other.json(() => {})).to.throw(TypeError)
    expect(() => other.json(1n)).to.throw(TypeError)
  })

  it('calls back in the async context of the send, whoever else sends in that turn', async () => {
    const { connection, site } = await connected()
    await openSocket(site.port, '/other')
    const [first, second] = [...site.hub.localConnections.values()] as [Connection, Connection]
    const storage = new AsyncLocalStorage<string>()
    const told: (string | undefined)[] = []
    const done = deferred<void>()
    const callback = (): void => {
      told.push(storage.getStore())
      if (told.length === 3) done.resolve()
    }
    storage.run('ann', () => first.send('a', callback))
    storage.run('bob', () => second.send('b', { binary: true }, callback))
    storage.run('eve', () => connection.send('c', callback))
    await done.promise
    expect(told.sort()).to.deep.equal(['ann', 'bob', 'eve'])
  })

  it('sends while the timers of the process are replaced, as fake timers of a test do', async () => {
    const { connection, socket } = await connected()
    const real = globalThis.setImmediate
    globalThis.setImmediate = (() => {}) as never
    try {
      connection.send('during')
    } finally {
      globalThis.setImmediate = real
    }
    connection.send('after')
    expect(await socket.next()).to.equal('during')
    expect(await socket.next()).to.equal('after')
  })

  it("throws ws's own errors for a close that cannot be, and goes on sending", async () => {
    const { connection, socket } = await connected()
    connection.send('before')
    expect(() => connection.close(1005)).to.throw(TypeError, 'valid error code')
    expect(() => connection.close(1000, 'x'.repeat(124))).to.throw(RangeError)
    connection.send('after')
    expect(await socket.next()).to.equal('before')
    expect(await socket.next()).to.equal('after')
    connection.close(1000)
    expect((await socket.closed).code).to.equal(1000)
  })

  it('hands what was sent to the kernel before terminate() ends it', async () => {
    const { connection, socket } = await connected()
    connection.send('last words')
    connection.terminate()
    expect(await socket.next()).to.equal('last words')
    expect((await socket.closed).code).to.equal(1006)
  })

  describe('iterated', () => {
    it('gives strings and Buffers in order, and ends with the connection', async () => {
      const seen: unknown[] = []
      const over = deferred()
      const { socket } = await connected(async (connection) => {
        for await (const message of connection) seen.push(message)
        over.resolve()
      })
      socket.send('a')
      socket.send(Buffer.from('b'))
      socket.send('c')
      socket.close()
      await over.promise
      expect(seen).to.deep.equal(['a', Buffer.from('b'), 'c'])
    })

    it('closes the TCP window while the loop is busy, and loses nothing', async () => {
      const release = deferred()
      const total = 400
      const size = 64 * 1024
      const done = deferred<number>()
      const { socket, connection } = await connected(async (connection) => {
        let count = 0
        for await (const message of connection) {
          if (count++ === 0) await release.promise
          expect(message.length).to.equal(size)
          if (count === total) done.resolve(count)
        }
      })
      for (let i = 0; i < total; i++) socket.send(Buffer.alloc(size))
      await eventually(() => connection.isPaused, 'the pause')
      for (let i = 0; i < 50; i++) await turn()
      expect(socket.bufferedAmount).to.be.above(1024 * 1024)
      release.resolve()
      expect(await done.promise).to.equal(total)
    })

    it('stops listening at break, refuses a second loop, and may be begun again', async () => {
      const results: unknown[] = []
      const { socket, connection } = await connected(async (connection) => {
        for await (const message of connection) {
          expect(() => connection[Symbol.asyncIterator]()).to.throw('iterated already')
          results.push(message)
          break
        }
        results.push(connection.listenerCount('message'))
        for await (const message of connection) results.push(message)
        results.push('over')
      })
      socket.send('a')
      await eventually(() => results.length === 2)
      socket.send('b')
      await eventually(() => results.length === 3)
      socket.close()
      await connection.closed
      await eventually(() => results.length === 4)
      expect(results).to.deep.equal(['a', 0, 'b', 'over'])
    })

    it('of a closed connection is over at once', async () => {
      const { socket, connection } = await connected()
      socket.close()
      await connection.closed
      for await (const _ of connection) throw new Error('a message')
    })
  })

  describe('while the handler runs', () => {
    it('keeps messages for once(), one by one', async () => {
      const seen: string[] = []
      const { socket } = await connected(async (connection) => {
        for (let i = 0; i < 5; i++) {
          await turn()
          const [data] = await once(connection, 'message')
          seen.push(String(data))
        }
        connection.close()
      })
      for (let i = 0; i < 5; i++) socket.send(String(i))
      await socket.closed
      expect(seen).to.deep.equal(['0', '1', '2', '3', '4'])
    })

    it('stops reading above 64 messages or 64 KiB, and gives them all to the first listener', async () => {
      for (const [count, size] of [
        [3000, 10],
        [200, 4096],
      ] as const) {
        const listen = deferred()
        const seen: string[] = []
        const { socket, connection } = await connected(async (connection) => {
          await listen.promise
          connection.on('message', (data) => seen.push(String(data)))
        })
        for (let i = 0; i < count; i++) socket.send(String(i).padEnd(size, '.'))
        await eventually(() => connection.isPaused, 'the pause')
        listen.resolve()
        await eventually(() => seen.length === count, 'all messages')
        expect(seen.map(Number.parseFloat)).to.deep.equal(
          Array.from({ length: count }, (_, i) => i),
        )
        await cleanUp()
      }
    })

    it('keeps them for addEventListener and onmessage too', async () => {
      for (const style of ['addEventListener', 'onmessage'] as const) {
        const seen: unknown[] = []
        const { socket } = await connected(async (connection) => {
          await turn()
          await turn()
          const listener = (event: { data: unknown }): unknown => seen.push(event.data)
          if (style === 'onmessage') connection.onmessage = listener
          else connection.addEventListener('message', listener)
        })
        socket.send('a')
        socket.send('b')
        await eventually(() => seen.length === 2)
        expect(seen).to.deep.equal(['a', 'b'])
      }
    })

    it('tells a close listener that comes late, after the messages', async () => {
      const seen: unknown[] = []
      const done = deferred()
      const { site } = await connected()
      const second = await serve((app) =>
        app.use(
          accept(async (connection) => {
            while (connection.readyState !== 3) await turn()
            connection.on('close', (code, reason) => {
              seen.push(`close ${code} ${reason}`)
              done.resolve()
            })
            connection.on('message', (data) => seen.push(String(data)))
          }),
        ),
      )
      void site
      const client = await rawClient(second.port)
      client.write(handshake('/'))
      await client.answer()
      client.socket.write(Buffer.concat([textFrame('a'), textFrame('b'), closeFrame(4000, 'bye')]))
      await done.promise
      expect(seen).to.deep.equal(['a', 'b', 'close 4000 bye'])
    })

    it('counts messages that nobody wanted when it ends, and reads on', async () => {
      const release = deferred()
      const { socket, site, connection } = await connected(() => release.promise)
      for (let i = 0; i < 3; i++) socket.send('unheard')
      await eventually(() => true)
      socket.ping()
      await once(socket, 'pong')
      release.resolve()
      await eventually(() => site.hub.status().drops['unheard'] === 3)
      connection.on('message', (data) => connection.send(data as Buffer))
      socket.send('heard')
      expect(String(await socket.next())).to.equal('heard')
    })

    it('waits for onConnect before the handler runs, and keeps what comes meanwhile', async () => {
      const release = deferred()
      const order: string[] = []
      const site = await serve(
        (app) =>
          app.use(
            accept((connection) => {
              order.push('handler')
              connection.on('message', (data) => connection.send(data as Buffer))
            }),
          ),
        {
          onConnect: async () => {
            order.push('onConnect')
            await release.promise
            order.push('connected')
          },
        },
      )
      const socket = await openSocket(site.port)
      socket.send('early')
      await eventually(() => order.length === 1)
      release.resolve()
      expect(String(await socket.next())).to.equal('early')
      expect(order).to.deep.equal(['onConnect', 'connected', 'handler'])
    })
  })

  describe('that ends', () => {
    it('tells signal, closed, close and onDisconnect, in an order that fits', async () => {
      const order: string[] = []
      const { socket, connection, site } = await connected(
        (connection) => {
          connection.on('close', () =>
            order.push(`close ${site_().localConnections.size} ${connection.rooms.size}`),
          )
          connection.signal.addEventListener('abort', () => order.push('signal'))
        },
        { rooms: ['a'] },
        {
          onDisconnect: (_connection, info) =>
            void order.push(`onDisconnect ${info.code} ${info.reason} ${info.clean}`),
        },
      )
      function site_(): Site['hub'] {
        return site.hub
      }
      expect(connection.signal.aborted).to.equal(false)
      socket.close(4000, 'enough')
      expect(await connection.closed).to.deep.equal({ code: 4000, reason: 'enough', clean: true })
      await eventually(() => order.length === 3)
      expect(order).to.deep.equal(['close 0 1', 'signal', 'onDisconnect 4000 enough true'])
      expect(connection.signal.aborted).to.equal(true)
      expect(await connection.closed).to.deep.equal({ code: 4000, reason: 'enough', clean: true })
    })

    it('tells our verdict where the peer could not be told', async () => {
      const { site } = await connected(
        (connection) => connection.close(4321, 'verdict'),
        {},
        { closeTimeout: 100 },
      )
      const client = await rawClient(site.port)
      const infos: unknown[] = []
      client.write(handshake('/'))
      await client.answer()
      const connection = [...site.hub.localConnections.values()].at(-1) as Connection
      connection.closed.then((info) => infos.push(info))
      expect(await client.closeCode()).to.equal(4321)
      await client.end()
      await eventually(() => infos.length === 1)
      expect(infos).to.deep.equal([{ code: 4321, reason: 'verdict', clean: false }])
    })

    it('is given up after closeTimeout by a peer that does not answer', async () => {
      const { site } = await connected(() => {}, {}, { closeTimeout: 150 })
      const client = await rawClient(site.port)
      client.write(handshake('/'))
      await client.answer()
      const started = Date.now()
      const connection = [...site.hub.localConnections.values()].at(-1) as Connection
      connection.close()
      await client.closeCode()
      await client.end()
      expect(Date.now() - started).to.be.within(140, 1_500)
    })
  })

  describe('with an authorisation that ends', () => {
    it('closes with 4401 on time', async () => {
      const started = Date.now()
      const { socket } = await connected(() => {}, { expiresAt: () => Date.now() + 300 })
      expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'expired' })
      expect(Date.now() - started).to.be.within(280, 1_300)
    })

    it('takes exp of koa-jwt by default, in seconds', async () => {
      const exp = Math.ceil(Date.now() / 1000) + 1
      const { port } = await serve((app) => {
        app.use((ctx, next) => ((ctx.state['user'] = { exp }), next()))
        app.use(accept(() => {}))
      })
      const socket = await openSocket(port)
      expect((await socket.closed).code).to.equal(4401)
      expect(Date.now()).to.be.within(exp * 1000, exp * 1000 + 1_000)
    })

    it('does not overflow a timer for an end that is years ahead, and null is never', async () => {
      const year = 365 * 24 * 3600 * 1000
      for (const expiresAt of [Date.now() + 100 * year, new Date(Date.now() + year), null]) {
        const { socket, connection } = await connected(() => {}, { expiresAt })
        await new Promise((resolve) => setTimeout(resolve, 30))
        expect(socket.readyState).to.equal(1)
        expect(connection.expiresAt).to.equal(expiresAt === null ? null : Number(expiresAt))
      }
    })

    it('rejects with 401 where it ended before the handshake', async () => {
      const { port } = await serve((app) =>
        app.use(accept(() => {}, { expiresAt: () => Date.now() - 1 })),
      )
      expect((await rejected(openSocket(port))).status).to.equal(401)
    })

    it('refuses seconds', () => {
      expect(() => accept(() => {}, { expiresAt: 1_700_000_000 })).to.throw('seconds')
    })

    it('may be refreshed: another end, another state, and another user closes 4403', async () => {
      const { socket, connection } = await connected(() => {}, {
        user: 'ann',
        expiresAt: () => Date.now() + 200,
      })
      connection.refresh({ expiresAt: Date.now() + 60_000, userId: 'ann', state: { fresh: true } })
      await new Promise((resolve) => setTimeout(resolve, 300))
      expect(socket.readyState).to.equal(1)
      expect(connection.state).to.deep.equal({ fresh: true })
      expect(() => connection.refresh({ expiresAt: 5 })).to.throw('seconds')
      connection.refresh({ userId: 'bob', state: { stolen: true } })
      expect((await socket.closed).code).to.equal(4403)
      expect(connection.state).to.deep.equal({ fresh: true })
    })
  })

  it('measures the round trip of a ping', async () => {
    const { connection } = await connected()
    expect(connection.rtt).to.equal(undefined)
    connection.ping()
    await once(connection, 'pong')
    expect(connection.rtt).to.be.within(0, 1_000)
  })

  it('compresses without server context when asked to', async () => {
    const { port } = await serve(
      (app) =>
        app.use(
          accept((connection) => connection.on('message', (data) => connection.send(String(data)))),
        ),
      { perMessageDeflate: true },
    )
    const socket = await openSocket(port)
    expect(socket.handshake['sec-websocket-extensions'])
      .to.include('permessage-deflate')
      .and.to.include('server_no_context_takeover')
    socket.send('x'.repeat(100_000))
    expect(await socket.next()).to.equal('x'.repeat(100_000))
    const client = await rawClient(port)
    client.write(handshake('/', { 'Sec-WebSocket-Extensions': 'permessage-deflate; =bad' }))
    expect((await client.answer()).status).to.equal(400)
  })

  it('does not keep a discarded flood in memory while closing', async () => {
    const release = deferred()
    const { site } = await connected(
      (connection) => (connection.close(), release.promise),
      {},
      { closeTimeout: 200 },
    )
    const client = await rawClient(site.port)
    client.write(handshake('/'))
    await client.answer()
    for (let i = 0; i < 500; i++) client.socket.write(frame(2, Buffer.alloc(1000)))
    await client.end()
    release.resolve()
    await eventually(() => site.hub.localConnections.size <= 1)
  })
})
