import { once } from 'node:events'
import { expect } from 'chai'
import { accept } from '../../lib/index.ts'
import { closeFrame, handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, eventually, openSocket, serve, turn } from '../support/server.ts'
import { connected } from './support/connected.ts'

describe('a connection', () => {
  afterEach(cleanUp)

  describe('while the handler runs', () => {
    it('keeps messages for once(), one at a time', async () => {
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

    it('pauses reading above 64 messages or 64 KiB, and delivers all of them to the first listener', async () => {
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

    it('keeps messages for addEventListener and onmessage too', async () => {
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

    it('emits close to a late listener, after the messages', async () => {
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

    it('counts the remaining messages as unheard when the handler ends, and keeps reading', async () => {
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

    it('runs the handler after onConnect, and keeps messages that arrive meanwhile', async () => {
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
})
