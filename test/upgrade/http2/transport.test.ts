import { once } from 'node:events'
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { accept, type Connection, type KoaWsOptions } from '../../../lib/index.ts'
import type { TestSocket } from '../../../lib/testing/index.ts'
import {
  cleanUpHttp2,
  connectHttp2,
  HANDSHAKE,
  type Http2Site,
  openOver,
  serveHttp2,
} from '../../http2/support/site.ts'
import { closeFrame, frame, textFrame } from '../../support/raw.ts'
import { deferred, eventually, rejected, soon, turn } from '../../support/server.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = http2.constants
const MIB = 1024 * 1024
const NO_BEAT = { heartbeat: false, closeTimeout: 200 } as const

describe('a WebSocket over HTTP/2', () => {
  afterEach(cleanUpHttp2)

  interface Pair {
    site: Http2Site
    session: ClientHttp2Session
    /** Opens a socket on that session, with its server side. */
    open(
      path?: string,
    ): Promise<{ socket: TestSocket; connection: Connection; stream: ClientHttp2Stream }>
    /** Opens an accepted stream without a WebSocket client on top. */
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

  /** Expects that a socket still works. */
  async function works({ socket, connection }: { socket: TestSocket; connection: Connection }) {
    connection.send('are you well?')
    expect(await socket.next()).to.equal('are you well?')
  }

  describe('at the end of its stream', () => {
    for (const [name, code] of Object.entries({
      NO_ERROR: NGHTTP2_NO_ERROR,
      CANCEL: NGHTTP2_CANCEL,
      INTERNAL_ERROR: NGHTTP2_INTERNAL_ERROR,
    })) {
      it(`closes with 1006 on RST_STREAM with ${name}, without an error, and its neighbors keep working`, async () => {
        const pair = await serve()
        const neighbour = await pair.open()
        const { stream } = await pair.bare()
        stream.close(code)
        await soon(() => expect(pair.closed).to.deep.equal([{ code: 1006, clean: false }]))
        await works(neighbour)
        expect(pair.site.errors).to.deep.equal([])
      })
    }

    it('closes with 1006 on END_STREAM without a close frame', async () => {
      const pair = await serve()
      const { stream } = await pair.bare()
      stream.end()
      stream.resume()
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 1006, clean: false }]))
      await once(stream, 'close')
    })

    for (const how of ['the client destroys the session', 'the server destroys the session']) {
      it(`closes with 1006 when ${how}`, async () => {
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

    it('waits after a frame error until the read is over, because the parser runs until then', async () => {
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
      it(`continues after a GOAWAY from the ${who}`, async () => {
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

    it('resets the stream with CANCEL on terminate(), and its neighbors keep working', async () => {
      const pair = await serve()
      const neighbour = await pair.open()
      const { stream, connection } = await pair.bare()
      const aborted = once(stream, 'close')
      connection.terminate()
      await aborted
      expect(stream.rstCode).to.equal(NGHTTP2_CANCEL)
      await works(neighbour)
    })

    it('ends both sides without a reset after a closing handshake', async () => {
      const pair = await serve()
      const { socket, stream } = await pair.open()
      socket.close(4001)
      await once(stream, 'close')
      expect(stream.rstCode).to.equal(NGHTTP2_NO_ERROR)
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 4001, clean: true }]))
    })

    it('closes with 1002 on an invalid WebSocket frame, and its neighbors keep working', async () => {
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

  describe('with flow control', () => {
    it('stalls alone when its client reads nothing, and its neighbors on the session receive everything', async () => {
      const pair = await serve({ ...NO_BEAT, maxBufferedAmount: 16 * MIB })
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

    it('closes with 4610 when its client reads nothing, and its neighbors stay open', async () => {
      const pair = await serve({ ...NO_BEAT, maxBufferedAmount: 256 * 1024 })
      const neighbour = await pair.open()
      const { stream, connection } = await pair.bare()
      stream.pause()
      for (let i = 0; i < 8; i++) connection.send('x'.repeat(64 * 1024))
      await soon(() => expect(pair.closed).to.deep.equal([{ code: 4610, clean: false }]))
      expect(pair.site.hub.status().drops).to.deep.equal({ slowConsumer: 1 })
      await works(neighbour)
    })

    it('stays open while its client reads a large message slowly', async () => {
      const pair = await serve({ ...NO_BEAT, maxBufferedAmount: 256 * 1024 })
      const { stream, connection } = await pair.bare()
      const size = 2 * MIB
      const taken = deferred<Error | null | undefined>()
      connection.send(Buffer.alloc(size), (error) => taken.resolve(error))
      // A window of 64 KiB every 50 ms: one write of the server takes 1.6 s.
      let got = 0
      stream.pause()
      for (; got < size; await pause(50)) {
        for (let chunk = stream.read(); chunk; chunk = stream.read()) got += chunk.length
      }
      expect((await taken.promise) ?? null).to.equal(null)
      expect(pair.closed).to.deep.equal([])
      expect(pair.site.hub.status().drops).to.deep.equal({})
    })

    it('delivers all of a large message to a client that ends its side meanwhile', async () => {
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
      /** Returns the size of a message with its frame header. */
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
        it(`delivers the whole answer to its last message${close}`, async () => {
          const pair = await serve(NO_BEAT)
          const { stream, connection } = await pair.bare()
          connection.on('message', () => connection.send(reply))
          stream.end(Buffer.concat([textFrame('hi'), close ? closeFrame() : Buffer.alloc(0)]))
          expect(await bytesOf(stream)).to.equal(sizeOf(reply) + (close ? 4 : 0))
        })
      }

      it('delivers both of two queued large messages', async () => {
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

      it('delivers a large message behind small ones', async () => {
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

    it('blocks only its own client while it is paused', async () => {
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

    it('calls back for every send when the client disconnects', async () => {
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

    for (const size of [1_000, 16_000, MIB]) {
      it(`reports an error for a message of ${size} bytes that the client has not read at the end`, async () => {
        const pair = await serve(NO_BEAT)
        const { stream, connection } = await pair.bare()
        stream.pause()
        const told: (Error | null | undefined)[] = []
        const send = (): void => connection.send(Buffer.alloc(size), (error) => told.push(error))
        // The windows of the stream are full when this much is queued.
        let sent = 0
        for (; connection.bufferedAmount < 128 * 1024; sent++) {
          send()
          await turn()
        }
        await eventually(() => stream.readableLength > 0)
        const before = told.length
        connection.terminate()
        await connection.closed
        await soon(() => expect(told).to.have.length(sent))
        expect(told.length - before).to.be.above(0)
        for (const error of told.slice(before)) expect(error).to.be.an('error')
      })
    }
  })

  describe('with a heartbeat', () => {
    it('resets only the stream of a silent client', async () => {
      const pair = await serve({ heartbeat: { interval: 200, timeout: 100 } })
      const neighbour = await pair.open()
      const { stream } = await pair.bare()
      stream.resume()
      await once(stream, 'close')
      expect(stream.rstCode).to.equal(NGHTTP2_CANCEL)
      expect(pair.closed).to.deep.equal([{ code: 4408, clean: false }])
      await works(neighbour)
    })

    it('counts the bytes of a message that is still arriving', async () => {
      const pair = await serve({ heartbeat: { interval: 1_000, timeout: 1_000 } })
      const { stream, connection } = await pair.bare()
      const message = frame(2, Buffer.alloc(1_000))
      const heard = once(connection, 'message')
      const step = Math.ceil(message.length / 5)
      for (let at = 0; at < message.length; at += step) {
        await once(stream, 'data') // a ping, which only bytes of the message answer
        stream.write(message.subarray(at, at + step))
      }
      await heard
      expect(pair.closed).to.deep.equal([])
    })
  })

  describe('with hub.close()', () => {
    it('closes with 1012, and keeps its session', async () => {
      const pair = await serve()
      const { socket } = await pair.open()
      await pair.site.hub.close()
      expect((await socket.closed).code).to.equal(1012)
      expect(pair.session.closed).to.equal(false)
      expect((await rejected(openOver(pair.session))).status).to.equal(503)
    })

    it('sends GOAWAY to all sessions with server: true, and closes the server', async () => {
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

    it('ends a hanging request at the deadline, with its session', async () => {
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

  it('delivers messages that arrive before it is accepted', async () => {
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
