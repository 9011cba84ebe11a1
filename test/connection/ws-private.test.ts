import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { Socket } from 'node:net'
import { Duplex, Writable } from 'node:stream'
import { expect } from 'chai'
import { WebSocket, WebSocketServer } from 'ws'
import { endOnce } from '../../lib/connection/ws-private.ts'
import { accept, type Connection } from '../../lib/index.ts'
import { selfSigned } from '../support/certificate.ts'
import {
  cleanUp,
  deferred,
  eventually,
  listen,
  makeApp,
  makeHub,
  serve,
  turn,
} from '../support/server.ts'
import { connected } from './support/connected.ts'

/** Runs something, and returns the streams that were ended while it ran although they had ended. */
async function endedAgain(run: () => Promise<void>): Promise<Set<unknown>> {
  const again = new Set<unknown>()
  const { end } = Writable.prototype
  const watched = function (this: Writable, ...args: Parameters<typeof end>): Writable {
    if (this.writableEnded) again.add(this)
    return end.apply(this, args)
  } as typeof end
  for (const Class of [Writable, Duplex]) Class.prototype.end = watched
  try {
    await run()
  } finally {
    for (const Class of [Writable, Duplex]) Class.prototype.end = end
  }
  return again
}

/** The streams of a connection, as ws names them. */
function streamsOf(connection: WebSocket): { _receiver: Writable; _socket: Socket } {
  return connection as unknown as { _receiver: Writable; _socket: Socket }
}

/** Runs something with both ends of a WebSocket that ws serves without koaws. */
async function withPair(
  run: (pair: { client: WebSocket; socket: WebSocket }) => Promise<void>,
): Promise<void> {
  const server = new WebSocketServer({ port: 0 })
  try {
    await once(server, 'listening')
    const client = new WebSocket(`ws://localhost:${(server.address() as { port: number }).port}`)
    const [[socket]] = await Promise.all([
      once(server, 'connection') as Promise<[WebSocket]>,
      once(client, 'open'),
    ])
    await run({ client, socket })
    client.terminate()
  } finally {
    server.close()
  }
}

describe('the private members of ws', () => {
  afterEach(cleanUp)

  it('are where koaws expects them, in this version of ws', async () => {
    const { connection } = await connected()
    const { _receiver, _socket } = streamsOf(connection)
    expect(_receiver).to.be.an.instanceOf(Writable)
    expect(_receiver.end).to.equal(Writable.prototype.end)
    expect(_socket).to.be.an.instanceOf(Socket)
    expect(_socket.end).to.equal(Socket.prototype.end)
  })

  it('are replaced by smaller objects that behave the same', async () => {
    const { connection } = await connected()
    const { _events, _extensions } = connection as unknown as Record<string, object>
    expect(_extensions).to.be.frozen.and.to.deep.equal({})
    expect(connection.extensions).to.equal('')
    expect(Object.getPrototypeOf(_events)).to.be.an('object').and.to.satisfy(Object.isFrozen)
    const plain = new EventEmitter()
    for (const emitter of [plain, connection] as EventEmitter[]) {
      const seen: unknown[] = []
      const known = new Set(emitter.eventNames())
      const listener = (...args: unknown[]): void => void seen.push(args)
      const symbol = Symbol('event')
      for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', symbol]) {
        expect(emitter.listenerCount(name)).to.equal(0)
        expect(emitter.emit(name)).to.equal(false)
        emitter.on(name, listener)
        emitter.once(name, listener)
        expect(emitter.emit(name, 1)).to.equal(true)
        expect(emitter.listeners(name)).to.deep.equal([listener])
        emitter.off(name, listener)
        expect(emitter.listenerCount(name)).to.equal(0)
      }
      expect(seen).to.deep.equal(Array(10).fill([1]))
      emitter.on('a', listener).on('b', listener).removeAllListeners('a')
      expect(emitter.eventNames().filter((name) => !known.has(name))).to.deep.equal(['b'])
    }
  })

  describe('that count automatic pongs', () => {
    type Counting = WebSocket & { _autoPongComplete?: () => void; _pendingAutoPongs?: number }

    it('have no other use in this version of ws', async () => {
      await withPair(async (pair) => {
        const socket: Counting = pair.socket
        const before = { ...socket }
        socket._autoPongComplete?.()
        const after = { ...socket }
        if (socket._autoPongComplete === undefined) return // before ws 8.22
        expect(before._pendingAutoPongs).to.equal(0)
        expect(after).to.deep.equal({ ...before, _pendingAutoPongs: -1 })
      })
    })

    it('count each that is written or dropped', async () => {
      const { connection, site } = await connected()
      const other = (await connected()).connection as Counting
      const counting = connection as Counting
      expect(counting._autoPongComplete).to.equal(other._autoPongComplete)
      const client = new WebSocket(`ws://127.0.0.1:${site.port}/`)
      await once(client, 'open')
      const [, pinged] = [...site.hub.localConnections.values()] as Counting[]
      // ws ends a client with 60 pongs that are not written.
      for (let i = 0; i < 200; i++) {
        client.ping(String(i))
        const [data] = (await once(client, 'pong')) as [Buffer]
        expect(String(data)).to.equal(String(i))
      }
      await eventually(() => (pinged?._pendingAutoPongs ?? 0) === 0, 'the end of all pongs')
      expect(client.readyState).to.equal(WebSocket.OPEN)
      client.terminate()
    })

    it('end a client with too many pongs that are not written, as before', async () => {
      const { connection } = await connected()
      const counting = connection as Counting
      if (counting._pendingAutoPongs === undefined) return // before ws 8.22
      const { _receiver } = streamsOf(connection)
      for (let i = 0; i < 61; i++) _receiver.emit('ping', Buffer.from('x'))
      expect(await connection.closed).to.include({ code: 1006 })
    })
  })

  it('are kept where the extension is negotiated', async () => {
    const site = await serve((app) => app.use(accept(() => {})), { perMessageDeflate: true })
    const client = new WebSocket(`ws://127.0.0.1:${site.port}/`)
    await once(client, 'open')
    const [connection] = site.hub.localConnections.values()
    expect(connection?.extensions).to.equal('permessage-deflate')
    client.terminate()
  })

  describe('no stream of a connection is ended twice', () => {
    it('when the client closes', async () => {
      const { connection, socket } = await connected()
      const { _receiver, _socket } = streamsOf(connection)
      const again = await endedAgain(async () => {
        socket.close(4000, 'done')
        expect(await connection.closed).to.deep.include({ code: 4000, reason: 'done', clean: true })
      })
      expect([again.has(_receiver), again.has(_socket)]).to.deep.equal([false, false])
      expect([_receiver.writableFinished, _socket.destroyed]).to.deep.equal([true, true])
    })

    it('when the server closes', async () => {
      const { connection, socket } = await connected()
      const { _receiver, _socket } = streamsOf(connection)
      const again = await endedAgain(async () => {
        connection.send('last')
        connection.close(4001)
        expect(await socket.next()).to.equal('last')
        expect(await connection.closed).to.include({ code: 4001, clean: true })
      })
      expect([again.has(_receiver), again.has(_socket)]).to.deep.equal([false, false])
    })

    it('over TLS', async () => {
      const { app } = makeApp()
      const opened = deferred<Connection>()
      app.use(makeHub())
      app.use(accept((connection) => opened.resolve(connection)))
      const { key, cert } = selfSigned()
      const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) })
      server.on('request', app.callback())
      const port = await listen(server)
      const client = new WebSocket(`wss://localhost:${port}/`, { rejectUnauthorized: false })
      const connection = await opened.promise
      await once(client, 'open')
      const { _receiver, _socket } = streamsOf(connection)
      const again = await endedAgain(async () => {
        client.close()
        await connection.closed
      })
      expect([again.has(_receiver), again.has(_socket)]).to.deep.equal([false, false])
    })

    it('while ws does it on its own', async () => {
      // When this fails, ws has the fix of decision 18, and `endOnce` is not needed.
      await withPair(async ({ client, socket }) => {
        const { _receiver, _socket } = streamsOf(socket)
        const again = await endedAgain(async () => {
          client.close()
          await once(socket, 'close')
        })
        expect([again.has(_receiver), again.has(_socket)]).to.deep.equal([true, true])
      })
    })
  })

  it('keep the other effects of `end()`: data, callbacks, and the uncorking of a stream that has ended', async () => {
    const written: string[] = []
    const receiver = new Writable({
      write: (chunk, _, done) => (written.push(String(chunk)), done()),
    })
    endOnce({ _receiver: receiver } as unknown as WebSocket)
    receiver.end('last')
    await once(receiver, 'finish')
    receiver.end()
    const error = await new Promise((resolve) => receiver.end(resolve))
    expect(error).to.include({ code: 'ERR_STREAM_ALREADY_FINISHED' })
    expect(written).to.deep.equal(['last'])

    const corked = new Writable({
      write: (chunk, _, done) => (written.push(String(chunk)), done()),
    })
    endOnce({ _receiver: corked } as unknown as WebSocket)
    corked.cork()
    corked.write('kept')
    corked.end()
    corked.cork()
    corked.end()
    await turn()
    expect([corked.writableCorked, corked.writableFinished]).to.deep.equal([0, true])
    expect(written).to.deep.equal(['last', 'kept'])
  })

  it('are left alone where a version of ws, or a library, has others', async () => {
    for (const parts of [{}, { _receiver: null, _socket: null }, { _receiver: {}, _socket: {} }]) {
      endOnce(parts as unknown as WebSocket)
      expect(Object.keys(parts)).to.have.length.at.most(2)
    }
    const own = (): Writable => receiver
    const receiver = Object.assign(new Writable(), { end: own })
    endOnce({ _receiver: receiver } as unknown as WebSocket)
    expect(receiver.end).to.equal(own)
  })

  it('with another `end()` leave the close to ws', async () => {
    const { connection } = await connected()
    const { _receiver } = streamsOf(connection)
    let calls = 0
    _receiver.end = function (this: Writable, ...args: Parameters<Writable['end']>) {
      calls++
      return Writable.prototype.end.apply(this, args)
    } as Writable['end']
    connection.close(4002)
    expect(await connection.closed).to.include({ code: 4002, clean: true })
    expect(calls).to.be.above(1)
  })
})
