import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect } from 'node:tls'
import { expect } from 'chai'
import { createWebSocketStream } from 'ws'
import { accept, type Connection, type KoaWsOptions } from '../../lib/index.ts'
import { selfSigned } from '../support/certificate.ts'
import { KIB, MIB, stuff } from '../support/limits.ts'
import { handshake, RawClient, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, eventually, listen, makeApp, makeHub, turn } from '../support/server.ts'

const OPTIONS = { closeTimeout: 300, maxBufferedAmount: 64 * MIB }

/** Collects the arguments of callbacks. */
class Told {
  readonly all: (Error | null | undefined)[] = []
  #made = 0

  next(): (error?: Error | null) => void {
    this.#made++
    return (error) => this.all.push(error)
  }

  /** Expects that every callback was called once, with an error. */
  async failed(): Promise<void> {
    await eventually(() => this.all.length >= this.#made, 'the callbacks')
    await turn()
    expect(this.all).to.have.length(this.#made)
    for (const error of this.all) expect(error).to.be.an('error')
  }

  /** Expects that every callback was called once, without an error. */
  async succeeded(): Promise<void> {
    await eventually(() => this.all.length >= this.#made, 'the callbacks')
    await turn()
    expect(this.all.map((error) => error ?? null)).to.deep.equal(Array(this.#made).fill(null))
  }
}

describe('the callback of a send', () => {
  const open: { destroy(): void }[] = []
  afterEach(async () => {
    for (const one of open.splice(0)) one.destroy()
    await cleanUp()
  })

  for (const scheme of ['http', 'https'] as const) {
    describe(`over ${scheme}`, () => {
      const large = scheme === 'http' ? 64 : 16

      async function site(options: KoaWsOptions = {}): Promise<{
        port: number
        arrived: Promise<Connection>
      }> {
        const { app } = makeApp()
        const arrived = deferred<Connection>()
        app.use(makeHub({ ...OPTIONS, ...options }))
        app.use(accept((connection) => arrived.resolve(connection as Connection)))
        const tls = scheme === 'https' ? selfSigned() : null
        const server = tls
          ? createTlsServer(
              { key: readFileSync(tls.key), cert: readFileSync(tls.cert) },
              app.callback(),
            )
          : createServer(app.callback())
        return { port: await listen(server), arrived: arrived.promise }
      }

      async function entered(
        options?: KoaWsOptions,
        headers?: Record<string, string>,
      ): Promise<{ client: RawClient; connection: Connection }> {
        const { port, arrived } = await site(options)
        const client = await dial(port)
        client.write(handshake('/', headers))
        await client.answer()
        return { client, connection: await arrived }
      }

      /** Returns a client that has stopped reading, with full buffers in the kernel. */
      async function stalled(): Promise<{ client: RawClient; connection: Connection }> {
        const { client, connection } = await entered()
        client.socket.pause()
        await stuff(connection)
        return { client, connection }
      }

      async function dial(port: number): Promise<RawClient> {
        if (scheme === 'http') return rawClient(port)
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
        open.push(socket)
        await once(socket, 'secureConnect')
        return new RawClient(socket)
      }

      /** Calls each way to send with a callback. */
      function sendAll(connection: Connection, told: Told): void {
        connection.send('text', told.next())
        connection.send(Buffer.alloc(MIB), told.next())
        connection.send('first,', { fin: false }, told.next())
        connection.ping(told.next() as never)
        connection.ping('a', told.next() as never)
        connection.ping('b', false, told.next())
        connection.pong(told.next() as never)
        connection.pong('c', told.next() as never)
        connection.pong('d', false, told.next())
        connection.send('second', { fin: true }, told.next())
      }

      const ends: [string, (client: RawClient, connection: Connection) => void][] = [
        ['terminate()', (_client, connection) => connection.terminate()],
        ['close() without an answer from the client', (_client, connection) => connection.close()],
        ["the client's end of its side", (client) => client.socket.end()],
        ["the client's disconnect", (client) => client.socket.destroy()],
      ]
      if (scheme === 'http') ends.push(['a reset by the client', (client) => client.reset()])

      for (const [what, end] of ends) {
        it(`gets an error for messages that ${what} cuts off`, async () => {
          const { client, connection } = await stalled()
          const told = new Told()
          sendAll(connection, told)
          await turn() // now in the socket
          sendAll(connection, told)
          expect(told.all).to.deep.equal([])
          end(client, connection)
          await told.failed()
        })

        it(`gets an error when ${what} cuts off a message of ${large} MiB`, async () => {
          const { client, connection } = await entered()
          client.socket.pause()
          const told = new Told()
          connection.send(Buffer.alloc(large * MIB), told.next())
          await eventually(() => connection.bufferedAmount > 0)
          end(client, connection)
          await told.failed()
        })
      }

      it('gets an error for messages that terminate() cuts off in the same turn', async () => {
        const { connection } = await stalled()
        const told = new Told()
        sendAll(connection, told)
        connection.terminate()
        await told.failed()
      })

      it('gets an error for a send after the end', async () => {
        const { connection } = await stalled()
        const told = new Told()
        connection.terminate()
        sendAll(connection, told)
        await told.failed()
        await connection.closed
        sendAll(connection, told)
        await told.failed()
      })

      for (const takeover of [true, false]) {
        it(`gets an error for messages that are being compressed, ${takeover ? 'with' : 'without'} context takeover`, async () => {
          const { client, connection } = await entered(
            { perMessageDeflate: { serverNoContextTakeover: !takeover, threshold: 10 } },
            { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
          )
          client.socket.pause()
          const told = new Told()
          connection.send(Buffer.alloc(large * MIB), { compress: false }, told.next())
          for (let i = 0; i < 5; i++) connection.send('x'.repeat(100 * KIB), told.next())
          connection.send(new Blob(['blob']) as never, told.next())
          connection.terminate()
          await told.failed()
        })
      }

      it('gets an error for a Blob that terminate() cuts off', async () => {
        const { connection } = await stalled()
        const told = new Told()
        for (let i = 0; i < 3; i++) connection.send(new Blob(['blob']) as never, told.next())
        await turn()
        connection.terminate()
        await told.failed()
      })

      it('gets an error for a write to createWebSocketStream that terminate() cuts off', async () => {
        const { connection } = await stalled()
        const stream = createWebSocketStream(connection)
        const failed = once(stream, 'error')
        const told = new Told()
        stream.write('part', told.next())
        await turn()
        connection.terminate()
        expect((await failed)[0]).to.be.an('error')
        await told.failed()
      })

      // Over TLS, Node reports only in a later turn that the kernel has taken the data.
      const isKnown = scheme === 'http'
      it(`gets ${isKnown ? 'no' : 'an'} error for small messages that the kernel took before terminate() in the same turn`, async () => {
        const { client, connection } = await entered()
        const told = new Told()
        connection.send('1', told.next())
        connection.send('2', told.next())
        connection.ping('3', false, told.next())
        connection.terminate()
        await connection.closed
        await client.end()
        expect(client.received.toString('latin1')).to.equal('\x81\x011\x81\x012\x89\x013')
        await (isKnown ? told.succeeded() : told.failed())
      })

      it('gets no error when the client receives everything', async () => {
        const { client, connection } = await stalled()
        const told = new Told()
        sendAll(connection, told)
        client.socket.removeAllListeners('data').resume() // a lot of data that the test ignores
        await told.succeeded()
        connection.terminate()
      })
    })
  }
})
