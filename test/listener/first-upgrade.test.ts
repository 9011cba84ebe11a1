import { once } from 'node:events'
import { createServer } from 'node:http'
import { expect } from 'chai'
import Koa from 'koa'
import koaWs, { accept, bearer } from '../../lib/index.ts'
import { handshake, rawClient, textFrame } from '../support/raw.ts'
import {
  cleanUp,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
  turn,
} from '../support/server.ts'

describe('the first upgrade of a server that is not attached', () => {
  afterEach(cleanUp)

  for (const wait of [0, 3]) {
    const where = wait ? 'behind asynchronous middleware' : 'with the plugin first'
    it(`is accepted ${where}, with 200 at once`, async () => {
      const { port, hub, server } = await serve(
        (app) => app.use(accept((connection) => connection.send(connection.path))),
        {
          before: (app) =>
            app.use(async (_ctx, next) => {
              for (let i = 0; i < wait; i++) await turn()
              await next()
            }),
        },
      )
      const paths = Array.from({ length: 200 }, (_, i) => `/${i}`)
      const sockets = await Promise.all(paths.map((path) => openSocket(port, path)))
      for (const [i, socket] of sockets.entries()) expect(await socket.next()).to.equal(`/${i}`)
      expect(hub.localConnections.size).to.equal(200)
      expect(server.listenerCount('upgrade')).to.equal(1)
    })
  }

  it('keeps the frames in its TCP segment when the plugin is first', async () => {
    const { port } = await serve((app) =>
      app.use(
        accept((connection) => connection.on('message', (data) => connection.send(`echo ${data}`))),
      ),
    )
    const client = await rawClient(port)
    client.socket.write(
      Buffer.concat([Buffer.from(handshake('/')), textFrame('one'), textFrame('two')]),
    )
    expect((await client.answer()).status).to.equal(101)
    expect([await client.textFrame(), await client.textFrame()]).to.deep.equal([
      'echo one',
      'echo two',
    ])
  })

  it('brings its bearer entry to the copy of koaws that serves it, when a process has two copies', async () => {
    // The built package is a second copy. Each copy strips bearer entries from the first upgrades of all servers.
    const built: typeof import('../../lib/index.ts') = await import('koaws')
    for (const copy of [built, { default: koaWs, accept, bearer }, built]) {
      const hub = copy.default({ heartbeat: false })
      const { app, errors } = makeApp()
      app.use(hub).use(copy.bearer())
      app.use((ctx) => {
        const seen = ctx.get('authorization')
        ctx.ws?.((connection) => connection.send(seen))
      })
      const port = await listen(createServer(app.callback()))
      const socket = await openSocket(port, '/', { protocols: ['chat', 'koaws.bearer.abc'] })
      expect(await socket.next()).to.equal('Bearer abc')
      expect(socket.protocol).to.equal('chat')
      expect(errors).to.deep.equal([])
      await hub.close()
    }
  })

  it('can be rejected, and a later request on its connection is not executed', async () => {
    const seen: string[] = []
    const { port } = await serve(
      (app) =>
        app.use((ctx) => {
          seen.push(ctx.path)
          ctx.throw(401)
        }),
      { before: (app) => app.use(async (_ctx, next) => (await turn(), next())) },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    expect((await client.answer()).status).to.equal(401)
    client.write('GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await client.end()
    expect(seen).to.deep.equal(['/'])
  })

  it('hides credentials from a logger in front of the plugin', async () => {
    const logged: string[] = []
    const { port } = await serve(
      (app) => {
        app.use(bearer())
        app.use(accept((connection, ctx) => connection.send(String(ctx.req.headers.authorization))))
      },
      {
        before: (app) =>
          app.use(async (ctx, next) => {
            logged.push(JSON.stringify([ctx.headers, ctx.req.rawHeaders]))
            await turn()
            await next()
            logged.push(JSON.stringify([ctx.headers, ctx.req.rawHeaders]))
          }),
      },
    )
    for (let i = 0; i < 2; i++) {
      const socket = await openSocket(port, '/', { protocols: ['chat', 'koaws.bearer.SECRET'] })
      expect(socket.protocol).to.equal('chat')
    }
    expect(logged).to.have.length(4)
    expect(logged.join()).to.not.include('SECRET')
    expect(logged.join()).to.include('chat')
  })

  it('stays an ordinary request when shouldUpgradeCallback of the user returns false', async function () {
    if (!('shouldUpgradeCallback' in createServer())) return this.skip()
    const { app } = makeApp()
    app.use(makeHub())
    app.use((ctx) => {
      ctx.body = ctx.ws === undefined ? 'plain' : 'upgrade'
    })
    const server = createServer({ shouldUpgradeCallback: () => false } as object, app.callback())
    const port = await listen(server)
    for (let i = 0; i < 2; i++) {
      const { status, body } = await rejected(openSocket(port))
      expect([status, body]).to.deep.equal([200, 'plain'])
    }
  })

  it('stays an ordinary request on a server without the plugin', async () => {
    koaWs()
    const answers: string[] = []
    const server = createServer((req, res) => {
      answers.push(`${req.method} ${req.headers['sec-websocket-protocol']}`)
      res.end('foreign')
    })
    const port = await listen(server)
    for (let i = 0; i < 2; i++) {
      const { status, body } = await rejected(openSocket(port, '/', { protocols: ['chat'] }))
      expect([status, body]).to.deep.equal([200, 'foreign'])
    }
    expect(answers).to.deep.equal(['GET chat', 'GET chat'])
    expect(server.listenerCount('upgrade')).to.equal(0)
    expect(
      Object.getOwnPropertySymbols(server).filter((symbol) => String(symbol).includes('koaws')),
    ).to.deep.equal([])
  })

  it('is an ordinary request again after detach', async () => {
    const { port, hub, server } = await serve((app) =>
      app.use((ctx) => {
        if (ctx.ws) ctx.ws((connection) => connection.send('hello'))
        else ctx.body = 'plain'
      }),
    )
    expect(await (await openSocket(port)).next()).to.equal('hello')
    hub.detach(server)
    expect(server.listenerCount('upgrade')).to.equal(0)
    expect((await rejected(openSocket(port))).body).to.equal('plain')
    hub.attach(server)
    hub.attach(server)
    expect(server.listenerCount('upgrade')).to.equal(1)
    expect(await (await openSocket(port)).next()).to.equal('hello')
  })

  it('runs middleware that was added after callback() and after listen(), as Koa does', async () => {
    const app = new Koa()
    app.use(makeHub())
    const server = createServer((req, res) => app.callback()(req, res))
    const port = await listen(server)
    app.use(accept((connection) => connection.send('late')))
    expect(await (await openSocket(port)).next()).to.equal('late')
  })

  it('is accepted on the server of app.listen()', async () => {
    const { app } = makeApp()
    const hub = makeHub()
    app.use(hub)
    app.use(accept((connection) => connection.send('hello')))
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    expect(await (await openSocket(port)).next()).to.equal('hello')
    await hub.close({ server: true, timeout: 200 })
    expect(server.listening).to.equal(false)
  })
})
