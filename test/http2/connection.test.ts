import { once } from 'node:events'
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { accept, type Connection, type KoaWsOptions } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { closeFrame, frame, textFrame } from '../support/raw.ts'
import { deferred, eventually, rejected, soon, turn } from '../support/server.ts'
import {
  cleanUpHttp2,
  connectHttp2,
  HANDSHAKE,
  type Http2Site,
  openOver,
  serveHttp2,
} from './support/site.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = http2.constants
const MIB = 1024 * 1024
const NO_BEAT = { heartbeat: false, closeTimeout: 200 } as const

describe('a WebSocket over HTTP/2', function () {
  this.timeout(30_000)
  afterEach(cleanUpHttp2)

  interface Pair {
    site: Http2Site
    session: ClientHttp2Session
    /** A socket of that session, and its end on the server. */
    open(
      path?: string,
    ): Promise<{ socket: TestSocket; connection: Connection; stream: ClientHttp2Stream }>
    /** A stream of it that was accepted, with nothing of ws above. */
    bare(): Promise<{ stream: ClientHttp2Stream; connection: Connection }>
    closed: { code: number; clean: boolean }[]
  }

  async function serve(
    options: KoaWsOptions = {},
    client: http2.SecureClientSessionOptions = {},
  ): Promise<Pair> {
    const arrivals: ((connection: Connection) => void)[] = []
    const closed: Pair['closed'] = []
    const site = await serveHttp2(
      (app) =>
        app.use(
          accept((connection) => {
            void connection.closed.then(({ code, clean }) => closed.push({ code, clean }))
            connection.on('message', () => {})
            arrivals.shift()?.(connection)
          }),
        ),
      options,
    )
    const session = await connectHttp2(site, client)
    const arrival = (): Promise<Connection> => new Promise((resolve) => arrivals.push(resolve))
    return {
      site,
      session,
      closed,
      async open(path) {
        const arriving = arrival()
        const socket = await openOver(session, path)
        return {
          socket,
          connection: await arriving,
          stream: socket.tunnel.stream as ClientHttp2Stream,
        }
      },
      async bare() {
        const arriving = arrival()
        const stream = session.request(HANDSHAKE, { endStream: false })
        stream.on('error', () => {})
        await once(stream, 'response')
        return { stream, connection: await arriving }
      },
    }
  }

  /** A socket still works. */
  async function works({ socket, connection }: { socket: TestSocket; connection: Connection }) {
    connection.send('are you well?')
    expect(await socket.next()).to.equal('are you well?')
  }

  describe('ends with its stream', () => {
    for (const [name, code] of Object.entries({
      NO_ERROR: NGHTTP2_NO_ERROR,
      CANCEL: NGHTTP2_CANCEL,
      INTERNAL_ERROR: NGHTTP2_INTERNAL_ERROR,
    })) {
      it(`by RST_STREAM with ${name}: 1006, no error, and its neighbours go on`, async () => {
        const pair = await serve()
        const neighbour = await pair.open()
        const { stream } = await pair.bare()
        stream.close(code)
        await soon(() => expect(pair.closed).to.deep.equal([{ code: 1006, clean: false }]))
        await works(neighbour)
        expect(pair.site.errors).to.deep.equal([])
      })
    }

    it('by END_STREAM without a close frame: 1006', async () => {
      const pair = await serve()
      const { stream } = await pair.bare()
      stream.end()
      stream.resume()
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 1006, clean: false }]))
      await once(stream, 'close')
    })

    for (const how of ['the client destroys the session', 'the server destroys the session']) {
      it(`when ${how}: 1006 for all of it`, async () => {
        const pair = await serve()
        for (let i = 0; i < 3; i++) await pair.bare()
        if (how.startsWith('the client')) pair.session.destroy()
        else pair.site.seen[0]?.destroy()
        await soon(() => expect(pair.closed).to.have.length(3))
        for (const end of pair.closed) expect(end).to.deep.equal({ code: 1006, clean: false })
        expect(pair.site.errors).to.deep.equal([])
        expect(pair.site.hub.status().connections).to.equal(0)
      })
    }

    it('for an error of frames when the read is over, for its parser is at work until then', async () => {
      const pair = await serve()
      await pair.bare()
      const [session] = pair.site.seen as [http2.ServerHttp2Session]
      session.on('error', () => {})
      session.destroy(Object.assign(new Error('bad frames'), { code: 'ERR_HTTP2_ERROR' }))
      expect(session.destroyed).to.equal(false)
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 1006, clean: false }]))
      expect(session.destroyed).to.equal(true)
    })

    for (const who of ['client', 'server']) {
      it(`and not with a GOAWAY of the ${who}: what is open goes on to its own end`, async () => {
        const pair = await serve()
        const one = await pair.open()
        const ended = once(pair.session, 'close')
        if (who === 'client') pair.session.close()
        else pair.site.seen[0]?.close()
        await works(one)
        one.socket.close(1000)
        await soon(() => expect(pair.closed).to.deep.equal([{ code: 1000, clean: true }]))
        await ended
      })
    }

    it('terminate() resets it with CANCEL, and nothing else', async () => {
      const pair = await serve()
      const neighbour = await pair.open()
      const { stream, connection } = await pair.bare()
      const aborted = once(stream, 'close')
      connection.terminate()
      await aborted
      expect(stream.rstCode).to.equal(NGHTTP2_CANCEL)
      await works(neighbour)
    })

    it('a closing handshake ends both sides without a reset', async () => {
      const pair = await serve()
      const { socket, stream } = await pair.open()
      socket.close(4001)
      await once(stream, 'close')
      expect(stream.rstCode).to.equal(NGHTTP2_NO_ERROR)
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 4001, clean: true }]))
    })

    it('a bad frame is 1002 on the stream of that client alone', async () => {
      const pair = await serve()
      const neighbour = await pair.open()
      const { stream } = await pair.bare()
      stream.resume()
      stream.write(Buffer.from([0xf3, 0x80, 0, 0, 0, 0]))
      await once(stream, 'close')
      expect(pair.closed).to.deep.equal([{ code: 1002, clean: false }])
      await works(neighbour)
    })
  })

  describe('has the flow control of its stream', () => {
    it('one that takes nothing stalls alone: its neighbours on the session get all of theirs', async () => {
      const pair = await serve(NO_BEAT)
      const neighbours = [await pair.open(), await pair.open()]
      const { stream, connection } = await pair.bare()
      stream.pause()
      const large = 'x'.repeat(64 * 1024)
      for (let i = 0; i < 32; i++) connection.send(large)
      await eventually(() => connection.bufferedAmount > MIB)
      for (let i = 0; i < 50; i++) {
        for (const { connection: each } of neighbours) each.send(`${i} ${large}`)
        for (const { socket } of neighbours) expect(await socket.next()).to.equal(`${i} ${large}`)
      }
      expect(connection.bufferedAmount).to.be.above(MIB)
    })

    it('one that takes nothing is closed with 4610, and its neighbours are not', async () => {
      const pair = await serve({ ...NO_BEAT, maxBufferedAmount: 256 * 1024 })
      const neighbour = await pair.open()
      const { stream, connection } = await pair.bare()
      stream.pause()
      for (let i = 0; i < 8; i++) connection.send('x'.repeat(64 * 1024))
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 4610, clean: false }]))
      expect(pair.site.hub.status().drops).to.deep.equal({ slowConsumer: 1 })
      await works(neighbour)
    })

    it('one that takes a large message slowly is not', async () => {
      const pair = await serve({ ...NO_BEAT, maxBufferedAmount: 256 * 1024 })
      const { stream, connection } = await pair.bare()
      const size = 2 * MIB
      const taken = deferred<Error | null | undefined>()
      connection.send(Buffer.alloc(size), (error) => taken.resolve(error))
      // A window of 64 KiB every 50 ms: one write of the server, 1.6 s until it is gone.
      let got = 0
      stream.pause()
      for (const started = Date.now(); got < size; await pause(50)) {
        for (let chunk = stream.read(); chunk; chunk = stream.read()) got += chunk.length
        expect(Date.now() - started).to.be.below(20_000)
      }
      expect((await taken.promise) ?? null).to.equal(null)
      expect(pair.closed).to.deep.equal([])
      expect(pair.site.hub.status().drops).to.deep.equal({})
    })

    it('a client that ends its side in the middle of a large message still gets all of it', async () => {
      const pair = await serve(NO_BEAT)
      const { stream, connection } = await pair.bare()
      stream.pause()
      const size = 2 * MIB
      connection.send(Buffer.alloc(size))
      await eventually(() => stream.readableLength > 0)
      stream.end()
      await eventually(() => connection.readyState === 2)
      let got = 0
      stream.on('data', (chunk: Buffer) => {
        got += chunk.length
      })
      stream.resume()
      await once(stream, 'end')
      expect(got).to.equal(size + 10)
    })

    describe('and a client that ends its side at once', () => {
      const large = Buffer.alloc(200_000)
      const reply = Buffer.alloc(40_000)
      /** What a message takes on the wire. */
      const sizeOf = ({ length }: Buffer): number => length + (length < 65_536 ? 4 : 10)

      async function bytesOf(stream: ClientHttp2Stream): Promise<number> {
        let got = 0
        stream.on('data', (chunk: Buffer) => {
          got += chunk.length
        })
        stream.resume()
        await once(stream, 'end')
        return got
      }

      for (const close of ['', ', with a close frame before']) {
        it(`gets the whole answer to its last message${close}`, async () => {
          const pair = await serve(NO_BEAT)
          const { stream, connection } = await pair.bare()
          connection.on('message', () => connection.send(reply))
          stream.end(Buffer.concat([textFrame('hi'), close ? closeFrame() : Buffer.alloc(0)]))
          expect(await bytesOf(stream)).to.equal(sizeOf(reply) + (close ? 4 : 0))
        })
      }

      it('gets all of two large messages that wait', async () => {
        const pair = await serve(NO_BEAT)
        const { stream, connection } = await pair.bare()
        stream.pause()
        connection.send(large)
        await turn()
        connection.send(large)
        await turn()
        stream.end()
        await eventually(() => connection.readyState === 2)
        expect(await bytesOf(stream)).to.equal(2 * sizeOf(large))
      })

      it('gets a large message behind small ones', async () => {
        const pair = await serve(NO_BEAT)
        const { stream, connection } = await pair.bare()
        stream.pause()
        const small = Buffer.alloc(15_000)
        for (let i = 0; i < 5; i++) {
          connection.send(small)
          await turn()
        }
        await eventually(() => connection.bufferedAmount > 0)
        connection.send(reply)
        await turn()
        stream.end()
        await eventually(() => connection.readyState === 2)
        expect(await bytesOf(stream)).to.equal(5 * sizeOf(small) + sizeOf(reply))
      })
    })

    it('a connection that does not read holds the client up, and nobody else', async () => {
      const pair = await serve(NO_BEAT)
      const neighbour = await pair.open()
      const { stream, connection } = await pair.bare()
      connection.pause()
      const heard: number[] = []
      connection.on('message', (data) => heard.push((data as Buffer).length))
      const message = frame(2, Buffer.alloc(60_000))
      for (let i = 0; i < 20; i++) stream.write(message)
      await works(neighbour)
      neighbour.socket.send('x'.repeat(300_000))
      await works(neighbour)
      expect(stream.writableLength).to.be.above(MIB)
      connection.resume()
      await eventually(() => heard.length === 20)
    })

    it('what was sent to a client that is gone is answered for', async () => {
      const pair = await serve(NO_BEAT)
      const { stream, connection } = await pair.bare()
      stream.pause()
      const told: unknown[] = []
      for (let i = 0; i < 5; i++) connection.send('x'.repeat(MIB), (error) => told.push(error))
      await eventually(() => connection.bufferedAmount > MIB)
      pair.session.destroy()
      await soon(() => expect(told).to.have.length(5))
      expect(told.at(-1)).to.be.an('error')
    })
  })

  describe('and the heartbeat', () => {
    it('ends the stream of a client that is silent, and no other', async () => {
      const pair = await serve({ heartbeat: { interval: 200, timeout: 100 } })
      const neighbour = await pair.open()
      const { stream } = await pair.bare()
      stream.resume()
      await once(stream, 'close')
      expect(stream.rstCode).to.equal(NGHTTP2_CANCEL)
      expect(pair.closed).to.deep.equal([{ code: 4408, clean: false }])
      await works(neighbour)
    })

    it('counts the bytes of a message that is still coming', async () => {
      const pair = await serve({ heartbeat: { interval: 200, timeout: 100 } })
      const { stream, connection } = await pair.bare()
      stream.resume()
      const message = frame(2, Buffer.alloc(1_000))
      const heard = once(connection, 'message')
      for (let at = 0; at < message.length; at += 50) {
        stream.write(message.subarray(at, at + 50))
        await pause(40) // 840 ms: several beats, none of them answered
      }
      await heard
      expect(pair.closed).to.deep.equal([])
    })
  })

  describe('and hub.close()', () => {
    it('is told 1012, and its session goes on', async () => {
      const pair = await serve()
      const { socket } = await pair.open()
      await pair.site.hub.close()
      expect((await socket.closed).code).to.equal(1012)
      expect(pair.session.closed).to.equal(false)
      expect((await rejected(openOver(pair.session))).status).to.equal(503)
    })

    it('with server: true its session gets GOAWAY, idle ones too, and the server closes', async () => {
      const pair = await serve()
      const idle = await connectHttp2(pair.site)
      const { socket } = await pair.open()
      const told = [once(pair.session, 'goaway'), once(idle, 'goaway')]
      await pair.site.hub.close({ server: true })
      expect((await socket.closed).code).to.equal(1012)
      await Promise.all(told)
      await soon(() => expect([idle.destroyed, pair.session.destroyed]).to.deep.equal([true, true]))
      expect(pair.site.server.listening).to.equal(false)
    })

    it('ends a request that hangs at the deadline, with its session', async () => {
      const reached = deferred()
      const site = await serveHttp2((app) =>
        app.use(() => {
          reached.resolve()
          return new Promise(() => {})
        }),
      )
      const session = await connectHttp2(site)
      const hanging = session.request({ ':path': '/' })
      hanging.on('error', () => {})
      const ended = new Promise((resolve) => session.once('close', resolve))
      await reached.promise
      await site.hub.close({ server: true, timeout: 300 })
      await ended
      expect(hanging.destroyed).to.equal(true)
    })
  })

  it('may receive before it is accepted: what came early is heard', async () => {
    const gate = deferred()
    const heard = deferred<string>()
    const site = await serveHttp2((app) =>
      app.use(async (ctx) => {
        await gate.promise
        ctx.ws?.((connection) => connection.on('message', (data) => heard.resolve(String(data))))
      }),
    )
    const session = await connectHttp2(site)
    const stream = session.request(HANDSHAKE, { endStream: false })
    stream.write(textFrame('early'))
    await eventually(() => site.hub.status().pending === 1)
    gate.resolve()
    expect(await heard.promise).to.equal('early')
  })
})
