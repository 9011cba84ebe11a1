import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import Koa from 'koa'
import request from 'supertest'
import superwstest from 'superwstest'
import { accept } from '../../lib/index.ts'
import { socketPair } from '../../lib/testing/duplex-socket.ts'
import { selfSigned } from '../support/certificate.ts'
import { handshake, RawClient, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'

const peer = createRequire(new URL('../peers/package.json', import.meta.url))
const hello = accept((connection) => connection.send(`hello ${connection.path}`))

describe('servers', () => {
  afterEach(cleanUp)

  /** Connects twice, because the first upgrade of a server takes another path. */
  async function greetsTwice(
    open: () => ReturnType<typeof openSocket>,
    text = 'hello /',
  ): Promise<void> {
    for (let i = 0; i < 2; i++) expect(await (await open()).next()).to.equal(text)
  }

  it('accept over TLS', async () => {
    const { app } = makeApp()
    app.use(makeHub())
    app.use(hello)
    const { key, cert } = selfSigned()
    const server = createTlsServer(
      { key: readFileSync(key), cert: readFileSync(cert) },
      app.callback(),
    )
    const port = await listen(server as never)
    await greetsTwice(() =>
      openSocket(`wss://127.0.0.1:${port}/`, '/', { rejectUnauthorized: false }),
    )
  })

  it('accept on a Unix socket', async () => {
    const { app } = makeApp()
    app.use(makeHub())
    app.use(hello)
    const path = join(mkdtempSync(join(tmpdir(), 'koaws-')), 'socket')
    const server = createServer(app.callback())
    server.listen(path)
    await once(server, 'listening')
    for (let i = 0; i < 2; i++) {
      const client = await rawClient({ path })
      client.write(handshake('/'))
      expect((await client.answer()).status).to.equal(101)
      expect(await client.textFrame()).to.equal('hello /')
      client.socket.destroy()
    }
    server.close()
  })

  it('accept on IPv6 and IPv4, with one app on two servers', async () => {
    const { app } = makeApp()
    const hub = makeHub()
    app.use(hub)
    app.use(hello)
    const four = await listen(createServer(app.callback()), '127.0.0.1')
    const six = await listen(createServer(app.callback()), '::1')
    await greetsTwice(() => openSocket(four))
    await greetsTwice(() => openSocket(`ws://[::1]:${six}/`))
    expect(hub.localConnections.size).to.equal(4)
  })

  it('with one plugin in two apps emit errors on the app of the connection', async () => {
    const hub = makeHub()
    const apps = [makeApp(), makeApp()]
    const ports = []
    for (const { app } of apps) {
      app.use(hub)
      app.use(
        accept((connection) =>
          connection.on('message', () => {
            throw new Error('listener')
          }),
        ),
      )
      ports.push(await listen(createServer(app.callback())))
    }
    const socket = await openSocket(ports[1] as number)
    await openSocket(ports[0] as number)
    socket.send('x')
    await socket.closed
    expect(apps.map(({ errors }) => errors.length)).to.deep.equal([0, 1])
  })

  it('with the plugin only in a mounted app answer 404 for other paths', async () => {
    const mount = peer('koa-mount')
    const inner = new Koa()
    const hub = makeHub()
    inner.use(hub)
    inner.use(hello)
    const { app } = makeApp()
    app.use(mount('/inner', inner))
    const port = await listen(hub.attach(createServer(app.callback())))
    await greetsTwice(() => openSocket(port, '/inner/x'), 'hello /inner/x')
    expect((await rejected(openSocket(port, '/other'))).status).to.equal(404)
  })

  it('with a plugin in the app and one in a mounted app give connections to the innermost', async () => {
    const mount = peer('koa-mount')
    const inner = new Koa()
    const innerHub = makeHub()
    inner.use(innerHub)
    inner.use(hello)
    const { app, hub, port } = await serve((outer) => outer.use(mount('/inner', inner)).use(hello))
    await greetsTwice(() => openSocket(port, '/inner/x'), 'hello /inner/x')
    await greetsTwice(() => openSocket(port, '/x'), 'hello /x')
    expect([innerHub.localConnections.size, hub.localConnections.size]).to.deep.equal([2, 2])
    expect([innerHub.status().pending, hub.status().pending]).to.deep.equal([0, 0])
    expect(app.listenerCount('error')).to.equal(1)
  })

  it('that never listen accept on an injected Duplex', async () => {
    const { app } = makeApp()
    app.use(makeHub())
    app.use(hello)
    const server = createServer(app.callback())
    for (let i = 0; i < 2; i++) {
      const [end, injected] = socketPair()
      const client = new RawClient(end)
      server.emit('connection', injected)
      client.write(handshake('/'))
      expect((await client.answer()).status).to.equal(101)
      expect(await client.textFrame()).to.equal('hello /')
      end.destroy()
    }
  })

  it('of supertest and superwstest accept an upgrade as the first request', async () => {
    const { app } = makeApp()
    app.use(makeHub())
    app.use((ctx, next) => (ctx.path === '/no' ? ctx.throw(401) : next()))
    app.use(hello)
    const server = createServer(app.callback())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      await superwstest(server).ws('/a').expectText('hello /a').close().expectClosed()
      await superwstest(server).ws('/no').expectConnectionError(401)
      await request(server).get('/a').expect(426)
    } finally {
      server.closeAllConnections()
      server.close()
    }
    await request(app.callback()).get('/a').expect(426)
  })

  it('keep async context: app.currentContext works in the handler, in listeners, and after their awaits', async () => {
    const { port } = await serve(
      (app) =>
        app.use(async (ctx) => {
          const tell = async (connection: { send(text: string): void }): Promise<void> => {
            await new Promise((resolve) => setImmediate(resolve))
            connection.send(
              String((app.currentContext as { originalUrl?: string } | undefined)?.originalUrl),
            )
          }
          ctx.ws?.(async (connection) => {
            connection.on('message', () => tell(connection))
            connection.on('ping', () => tell(connection))
            await tell(connection)
          })
        }),
      { koa: { asyncLocalStorage: true } },
    )
    for (const path of ['/first', '/later']) {
      const socket = await openSocket(port, path)
      socket.send('x')
      socket.ping()
      for (let i = 0; i < 3; i++) expect(await socket.next()).to.equal(path)
    }
  })
})
