import { expect } from 'chai'
import type { Connection } from '../../lib/index.ts'
import { closeFrame, frame, handshake, pingFrame, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, openSocket, type Site, serve, turn } from '../support/server.ts'

/** Collects the messages and the close code of a connection. */
function listenTo(connection: Connection, heard: string[], done: () => void): void {
  connection.on('message', (data) => heard.push(String(data)))
  connection.on('close', (code) => {
    heard.push(`close ${code}`)
    done()
  })
}

describe('the bytes of a client', () => {
  afterEach(cleanUp)

  for (const form of ['inside', 'after'] as const) {
    for (const waiting of ['nowhere', 'in middleware', 'in the handler'] as const) {
      describe(`accepted ${form} the chain, awaiting ${waiting}`, () => {
        let site: Site
        let heard: string[]
        let done: ReturnType<typeof deferred<void>>

        async function handler(connection: Connection): Promise<void> {
          if (waiting === 'in the handler') for (let i = 0; i < 20; i++) await turn()
          listenTo(connection, heard, () => done.resolve())
        }

        beforeEach(async () => {
          heard = []
          done = deferred()
          site = await serve(
            (app) => {
              app.use(async (_ctx, next) => {
                if (waiting === 'in middleware') for (let i = 0; i < 20; i++) await turn()
                await next()
              })
              app.use(async (ctx) => {
                const ws = ctx.ws as NonNullable<typeof ctx.ws>
                if (form === 'after') ws(handler)
                else await handler(await ws())
              })
            },
            { attach: true },
          )
        })

        const bytes = Buffer.concat([
          textFrame('one'),
          textFrame('two'),
          textFrame('three'),
          closeFrame(1000),
        ])
        const expected = ['one', 'two', 'three', 'close 1000']

        it('are delivered in order when they arrive in the segment of the handshake', async () => {
          const client = await rawClient(site.port)
          client.socket.write(Buffer.concat([Buffer.from(handshake('/')), bytes]))
          await done.promise
          expect(heard).to.deep.equal(expected)
        })

        it('are delivered complete when a frame is split at any byte of that segment', async () => {
          const head = Buffer.from(handshake('/'))
          for (let cut = 1; cut < 20; cut++) {
            heard = []
            done = deferred()
            const client = await rawClient(site.port)
            client.socket.write(Buffer.concat([head, bytes.subarray(0, cut)]))
            await turn()
            client.socket.write(bytes.subarray(cut))
            await done.promise
            expect(heard, `cut at ${cut}`).to.deep.equal(expected)
          }
        })

        it('are delivered once when the head of the handshake is split', async () => {
          const all = Buffer.concat([Buffer.from(handshake('/')), bytes])
          for (let cut = 20; cut < all.length; cut += 13) {
            heard = []
            done = deferred()
            const client = await rawClient(site.port)
            client.socket.write(all.subarray(0, cut))
            await turn()
            client.socket.write(all.subarray(cut))
            await done.promise
            expect(heard, `cut at ${cut}`).to.deep.equal(expected)
          }
        })
      })
    }
  }

  it('are answered without listeners: ping and close', async () => {
    const { port } = await serve((app) => app.use(async (ctx) => void (await ctx.ws?.())))
    for (const round of ['first', 'later']) {
      const client = await rawClient(port)
      client.write(handshake('/'))
      await client.answer()
      client.socket.write(Buffer.concat([pingFrame('hi'), textFrame('unheard'), closeFrame(1000)]))
      const pong = await client.frame()
      expect([pong.opcode, pong.payload.toString()], round).to.deep.equal([10, 'hi'])
      expect(await client.closeCode(), round).to.equal(1000)
      await client.end()
    }
  })

  it('that are HTTP after the 101 close with 1002, and run nothing', async () => {
    const seen: string[] = []
    const { port } = await serve((app) =>
      app.use(async (ctx) => {
        seen.push(ctx.path)
        await ctx.ws?.()
      }),
    )
    for (const path of ['/first', '/second']) {
      const client = await rawClient(port)
      client.write(handshake(path))
      expect((await client.answer()).status).to.equal(101)
      client.write('GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n')
      expect(await client.closeCode()).to.equal(1002)
      await client.end()
    }
    expect(seen).to.deep.equal(['/first', '/second'])
  })

  it('arrive intact: binary, fragmented, 1 MiB, and 200 medium messages', async () => {
    const { port } = await serve(
      (app) =>
        app.use((ctx) =>
          ctx.ws?.((connection) => {
            connection.on('message', (data, isBinary) =>
              connection.send(data as Buffer, { binary: isBinary }),
            )
          }),
        ),
      { maxPayload: 1024 * 1024 },
    )
    const socket = await openSocket(port)
    const big = Buffer.alloc(1024 * 1024, 7)
    socket.send(big)
    expect((await socket.next()) as Buffer).to.deep.equal(big)
    socket.send('a', { fin: false })
    socket.send('b', { fin: false })
    socket.send('c')
    expect(await socket.next()).to.equal('abc')
    const medium = Array.from({ length: 200 }, (_, i) => `${i} `.repeat(500))
    for (const text of medium) socket.send(text)
    for (const text of medium) expect(await socket.next()).to.equal(text)
    socket.send(Buffer.alloc(1024 * 1024 + 1))
    expect((await socket.closed).code).to.equal(1009)
  })

  it('above the limits of a route close with 1009 or 1008, and malformed UTF-8 with 1007', async () => {
    const { port, hub } = await serve((app, hub) => {
      const echo = (connection: Connection): void => {
        connection.on('message', (data) => connection.send(data as Buffer))
      }
      app.use(hub.route('/small', (ctx) => ctx.ws?.(echo, { maxPayload: 10 })))
      app.use(hub.route('/few', (ctx) => ctx.ws?.(echo, { maxFragments: 2 })))
      app.use((ctx) => ctx.ws?.(echo))
    })
    const small = await openSocket(port, '/small')
    small.send('0123456789')
    expect(String(await small.next())).to.equal('0123456789')
    small.send('0123456789a')
    expect((await small.closed).code).to.equal(1009)
    const few = await openSocket(port, '/few')
    few.send('a', { fin: false })
    few.send('b')
    expect(String(await few.next())).to.equal('ab')
    expect(hub.status().drops).to.deep.equal({ maxPayload: 1 })
    for (let i = 0; i < 3; i++) few.send('a', { fin: false })
    expect((await few.closed).code).to.equal(1008)
    const bad = await openSocket(port, '/')
    bad.send('fine')
    expect(String(await bad.next())).to.equal('fine')
    bad.send(Buffer.from([0xff]), { binary: false })
    expect((await bad.closed).code).to.equal(1007)
    expect(hub.status().drops).to.deep.equal({ maxPayload: 1, maxFragments: 1, badFrame: 1 })
  })

  it('of pipelined GETs before an upgrade get their answers first, in order', async () => {
    const release = deferred()
    const { port, hub } = await serve(
      (app) =>
        app.use(async (ctx) => {
          if (ctx.path === '/slow') {
            await release.promise
            ctx.body = 'x'.repeat(200_000)
          } else if (ctx.path === '/quick') ctx.body = 'quick'
          else ctx.ws?.((connection) => connection.send('hello'))
        }),
      { attach: true },
    )
    const client = await rawClient(port)
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
    client.socket.write(
      Buffer.concat([
        Buffer.from(get('/slow') + get('/quick') + handshake('/ws')),
        textFrame('early'),
      ]),
    )
    for (let i = 0; i < 5; i++) await turn()
    expect(hub.status().connections).to.equal(0)
    release.resolve()
    expect((await client.answer()).body.length).to.equal(200_000)
    expect((await client.answer()).body).to.equal('quick')
    expect((await client.answer()).status).to.equal(101)
    expect(await client.textFrame()).to.equal('hello')
  })

  it('of a pipelined GET before the first upgrade of a server get their answers in order', async () => {
    for (const asynchronous of [false, true]) {
      const { port } = await serve(
        (app) =>
          app.use((ctx) => {
            if (ctx.path === '/get') ctx.body = 'get'
            else ctx.ws?.((connection) => connection.send('hello'))
          }),
        {
          before: (app) => app.use(async (_ctx, next) => (asynchronous && (await turn()), next())),
        },
      )
      const client = await rawClient(port)
      client.write(`GET /get HTTP/1.1\r\nHost: localhost\r\n\r\n${handshake('/ws')}`)
      expect((await client.answer()).body).to.equal('get')
      expect((await client.answer()).status).to.equal(101)
      expect(await client.textFrame()).to.equal('hello')
    }
  })

  it('wait in the socket until the accept, so that a fast client does not fill memory', async () => {
    const accepted = deferred()
    const total = deferred<number>()
    const { port } = await serve(
      (app) =>
        app.use(async (ctx) => {
          await accepted.promise
          const connection = await (ctx.ws as NonNullable<typeof ctx.ws>)()
          let bytes = 0
          connection.on('message', (data: Buffer) => {
            bytes += data.length
            if (bytes === 8 * 1024 * 1024) total.resolve(bytes)
          })
        }),
      { attach: true },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    for (let i = 0; i < 128; i++) client.socket.write(frame(2, Buffer.alloc(64 * 1024)))
    for (let i = 0; i < 20; i++) await turn()
    accepted.resolve()
    expect(await total.promise).to.equal(8 * 1024 * 1024)
  })
})
