import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { accept, Connection, KoaWsError } from '../../lib/index.ts'
import { frame, handshake, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, eventually, openSocket, type Site, serve } from '../support/server.ts'
import { connected } from './support/connected.ts'

describe('a connection', () => {
  afterEach(cleanUp)

  it('is a ws WebSocket with id, user, path, query, address and rooms of its handshake', async () => {
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

  it('names only events that have a listener', async () => {
    const { connection } = await connected()
    const names = connection.eventNames()
    const listener = (): void => {}
    connection.on('message', listener).on('error', listener)
    connection.off('message', listener)
    expect(connection.eventNames()).to.deep.equal([...names, 'error'])
    connection.off('error', listener)
    expect(connection.eventNames()).to.deep.equal(names)
  })

  it('joins and leaves rooms, and throws for an invalid room name', async () => {
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

  it('with hub: false is counted and closed with the others, and cannot join rooms', async () => {
    const { connection, site } = await connected(() => {}, { hub: false })
    expect(() => connection.join('a')).to.throw(KoaWsError, 'hub: false')
    expect(site.hub.status().connections).to.equal(1)
    expect(() => accept(() => {}, { hub: false, rooms: ['a'] })).to.throw('contradicts')
    await site.hub.close()
    expect(await connection.closed).to.include({ code: 1012 })
  })

  it('sends JSON, text and binary in order, with one write per turn', async () => {
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

  it('runs each callback in the async context of its send, even when others send in the same turn', async () => {
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

  it('sends while fake timers replace setImmediate', async () => {
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

  it('throws the errors of ws for an invalid close, and keeps sending', async () => {
    const { connection, socket } = await connected()
    connection.send('before')
    expect(() => connection.close(1005)).to.throw(TypeError, 'takes a code of')
    expect(() => connection.close(1000, 'x'.repeat(124))).to.throw(RangeError)
    connection.send('after')
    expect(await socket.next()).to.equal('before')
    expect(await socket.next()).to.equal('after')
    connection.close(1000)
    expect((await socket.closed).code).to.equal(1000)
  })

  it('flushes sent messages to the kernel before terminate()', async () => {
    const { connection, socket } = await connected()
    connection.send('last words')
    connection.terminate()
    expect(await socket.next()).to.equal('last words')
    expect((await socket.closed).code).to.equal(1006)
  })

  it('knows how many bytes its socket has read and written', async () => {
    const { port, hub } = await serve((app) =>
      app.use(
        accept((connection) => connection.on('message', (data) => connection.send(String(data)))),
      ),
    )
    const socket = await openSocket(port)
    const [connection] = hub.localConnections.values()
    const before = { read: connection?.bytesRead ?? 0, written: connection?.bytesWritten ?? 0 }
    socket.send('x'.repeat(1_000))
    await socket.next()
    expect((connection?.bytesRead ?? 0) - before.read).to.equal(1_008)
    expect((connection?.bytesWritten ?? 0) - before.written).to.equal(1_004)
  })

  describe('at its end', () => {
    it('emits close, aborts the signal and calls onDisconnect in this order, and resolves closed', async () => {
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

    it('reports the code of the server when the client leaves without a close frame', async () => {
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

    it('ends after closeTimeout when the client sends no close frame', async () => {
      const { site } = await connected(() => {}, {}, { closeTimeout: 150 })
      const client = await rawClient(site.port)
      client.write(handshake('/'))
      await client.answer()
      const started = Date.now()
      const connection = [...site.hub.localConnections.values()].at(-1) as Connection
      connection.close()
      await client.closeCode()
      await client.end()
      expect(Date.now() - started).to.be.at.least(140)
    })
  })

  it('measures the round-trip time of a ping', async () => {
    const { connection } = await connected()
    expect(connection.rtt).to.equal(undefined)
    const began = performance.now()
    connection.ping()
    await once(connection, 'pong')
    expect(connection.rtt).to.be.within(0, performance.now() - began)
  })

  it('compresses with server_no_context_takeover by default, and rejects a malformed extension with 400', async () => {
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

  it('discards a flood while closing, and is removed', async () => {
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
