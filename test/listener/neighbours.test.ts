import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import type Koa from 'koa'
import { type WebSocket, WebSocketServer } from 'ws'
import { accept, bearer, type Hub, type KoaWsOptions } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
} from '../support/server.ts'

const load = createRequire(new URL('../peers/package.json', import.meta.url))

const stops: (() => unknown)[] = []

/** Another `upgrade` listener on the same server. */
interface Neighbor {
  readonly name: string
  install(server: Server): Promise<Installed> | Installed
}

interface Installed {
  /** Uses the neighbor, on a listening server. */
  use(port: number): Promise<void>
}

const echoes = (connection: WebSocket): void => {
  connection.on('message', (data) => connection.send(`theirs: ${data}`))
}

async function useEcho(port: number, path: string): Promise<void> {
  const socket = await openSocket(port, path)
  socket.send('hi')
  expect(await socket.next()).to.equal('theirs: hi')
  socket.close(1000)
  expect((await socket.closed).code).to.equal(1000)
}

function socketIo(options: object): Neighbor['install'] {
  return (server) => {
    const io = new (load('socket.io').Server)(server, { ...options, serveClient: false })
    stops.push(() => io.engine.close())
    io.on('connection', (socket: { on(event: string, listener: unknown): void }) => {
      socket.on('question', (text: string, answer: (text: string) => void) =>
        answer(`theirs: ${text}`),
      )
    })
    return {
      use: async (port) => {
        for (const transports of [['websocket'], ['polling', 'websocket']]) {
          const client = load('socket.io-client').io(`http://127.0.0.1:${port}`, {
            transports,
            forceNew: true,
            reconnection: false,
          })
          stops.push(() => client.close())
          expect(await client.timeout(60_000).emitWithAck('question', 'hi')).to.equal('theirs: hi')
          if (client.io.engine.transport.name !== 'websocket') {
            await new Promise((resolve) => client.io.engine.once('upgrade', resolve))
          }
          expect(client.io.engine.transport.name).to.equal('websocket')
          client.close()
        }
      },
    }
  }
}

const neighbors: readonly Neighbor[] = [
  {
    name: 'an upgrade listener that does nothing',
    install: (server) => {
      let heard = 0
      server.on('upgrade', () => heard++)
      return {
        use: async (port) => {
          const before = heard
          await openSocket(port, '/ours')
          expect(heard).to.equal(before + 1)
        },
      }
    },
  },
  {
    name: 'ws with noServer and its own check of the path',
    install: (server) => {
      const wss = new WebSocketServer({ noServer: true })
      wss.on('connection', echoes)
      server.on('upgrade', (req, socket, head) => {
        if (req.url !== '/theirs') return
        wss.handleUpgrade(req, socket, head, (connection) =>
          wss.emit('connection', connection, req),
        )
      })
      return { use: (port) => useEcho(port, '/theirs') }
    },
  },
  { name: 'socket.io', install: socketIo({}) },
  { name: 'socket.io with destroyUpgrade: false', install: socketIo({ destroyUpgrade: false }) },
  {
    name: 'vite in middleware mode with hmr on the same server',
    install: async (server) => {
      const { createServer: createVite } = await import(pathToFileURL(viteEntry()).href)
      const root = mkdtempSync(join(tmpdir(), 'koaws-vite-'))
      const vite = await createVite({
        root,
        cacheDir: join(root, 'cache'),
        configFile: false,
        logLevel: 'silent',
        appType: 'custom',
        optimizeDeps: { noDiscovery: true },
        server: { middlewareMode: true, hmr: { server }, watch: null },
      })
      stops.push(async () => {
        await vite.close()
        rmSync(root, { recursive: true })
      })
      return {
        use: async (port) => {
          const socket = await openSocket(port, `/?token=${vite.config.webSocketToken}`, {
            protocols: ['vite-hmr'],
          })
          expect(socket.protocol).to.equal('vite-hmr')
          expect(await socket.nextJson()).to.deep.equal({ type: 'connected' })
        },
      }
    },
  },
  {
    name: 'http-proxy for the upgrades of one path',
    install: async (server) => {
      const target = createServer()
      new WebSocketServer({ server: target }).on('connection', echoes)
      const targetPort = await listen(target)
      const proxy = load('http-proxy').createProxyServer({
        target: { host: '127.0.0.1', port: targetPort },
      })
      proxy.on('error', () => {}) // a client that leaves
      server.on('upgrade', (req, socket, head) => {
        if (req.url === '/proxied') proxy.ws(req, socket, head)
      })
      return { use: (port) => useEcho(port, '/proxied') }
    },
  },
]

function viteEntry(): string {
  const manifest = load.resolve('vite/package.json')
  return join(manifest, '../dist/node/index.js')
}

describe('neighbors on the same server', () => {
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
    await cleanUp()
  })

  for (const { name, install } of neighbors) {
    for (const first of ['theirs', 'ours'] as const) {
      describe(`${name}, registered ${first === 'theirs' ? 'before' : 'after'} koaws`, () => {
        const start = async () => {
          const { server, hub, errors } = site()
          if (first === 'ours') hub.attach(server)
          const theirs = await install(server)
          if (first === 'theirs') hub.attach(server)
          return { port: await listen(server), theirs, errors }
        }

        it('the neighbor works', async () => {
          const { port, theirs, errors } = await start()
          await theirs.use(port)
          await theirs.use(port)
          expect(errors).to.deep.equal([])
        })

        it('koaws accepts inside and after the chain, and the neighbor works', async () => {
          const { port, theirs, errors } = await start()
          await useOurs(port)
          await theirs.use(port)
          await useOurs(port)
          expect(errors).to.deep.equal([])
        })

        it('a rejection by koaws arrives complete', async () => {
          const { port } = await start()
          const error = await rejected(openSocket(port, '/rejected'))
          expect([error.status, error.body]).to.deep.equal([401, 'no entry'])
        })

        it('an unknown path gets 404, and an open connection of koaws stays open', async () => {
          const { port } = await start()
          const socket = await openSocket(port, '/ours')
          const client = await rawClient(port)
          client.write(handshake('/unknown'))
          await client.end()
          socket.send('still here')
          expect(await socket.next()).to.equal('ours: still here')
          const { status, body } = await client.answer()
          expect([status, body]).to.deep.equal([404, 'Not Found'])
        })

        it('plain HTTP requests are answered', async () => {
          const { port } = await start()
          const response = await fetch(`http://127.0.0.1:${port}/plain`)
          expect(await response.text()).to.equal('plain')
        })
      })
    }
  }

  describe('new WebSocketServer({ server, path }), which aborts every other path', () => {
    for (const first of ['theirs', 'ours'] as const) {
      describe(first === 'theirs' ? 'registered before koaws' : 'registered after koaws', () => {
        const start = async () => {
          const { server, hub, errors } = site()
          if (first === 'ours') hub.attach(server, { gate: true })
          new WebSocketServer({ server, path: '/theirs' }).on('connection', echoes)
          if (first === 'theirs') hub.attach(server, { gate: true })
          return { port: await listen(server), errors }
        }

        it('with the gate both work', async () => {
          const { port, errors } = await start()
          await useEcho(port, '/theirs')
          await useOurs(port)
          await useEcho(port, '/theirs')
          expect(errors).to.deep.equal([])
        })

        it('with the gate a rejection by koaws arrives complete', async () => {
          const { port } = await start()
          const error = await rejected(openSocket(port, '/rejected'))
          expect([error.status, error.body]).to.deep.equal([401, 'no entry'])
        })

        it('with the gate the neighbor aborts an unknown path', async () => {
          const { port } = await start()
          expect((await rejected(openSocket(port, '/unknown'))).status).to.equal(400)
        })
      })
    }

    it('without the gate the neighbor aborts upgrades of koaws', async () => {
      const { server, hub } = site()
      new WebSocketServer({ server, path: '/theirs' }).on('connection', echoes)
      hub.attach(server)
      const port = await listen(server)
      expect((await rejected(openSocket(port, '/ours'))).status).to.equal(400)
      await useEcho(port, '/theirs')
    })
  })

  describe('an upgrade left to a neighbor is untouched', () => {
    const token = 'koaws.bearer.a-token'
    const offered = `chat, ${token}, other`
    const url = '/theirs?access_token=secret&room=1'

    /** A neighbor that claims the upgrade when told to, and records the request. */
    const remember = (server: Server, when: () => Promise<void> | null) => {
      const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'chat' })
      wss.on('connection', echoes)
      const seen: { url: string | undefined; protocols: string | undefined; raw: string[] }[] = []
      const take = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
        seen.push({
          url: req.url,
          protocols: req.headers['sec-websocket-protocol'],
          raw: [...req.rawHeaders],
        })
        expect(req.headers.authorization).to.equal(undefined)
        wss.handleUpgrade(req, socket, head, (connection) => wss.emit('connection', connection))
      }
      server.on('upgrade', (req: IncomingMessage, socket, head) => {
        if (!req.url?.startsWith('/theirs')) return
        const turn = when()
        if (turn !== null) void turn.then(() => take(req, socket, head))
        else take(req, socket, head)
      })
      return seen
    }

    const expectUntouched = (seen: ReturnType<typeof remember>): void => {
      expect(seen).to.have.length(1)
      const [request] = seen
      expect(request?.url).to.equal(url)
      expect(request?.protocols).to.equal(offered)
      const at = request?.raw.findIndex((name) => name.toLowerCase() === 'sec-websocket-protocol')
      expect(request?.raw[(at as number) + 1]).to.equal(offered)
    }

    const useTheirs = async (port: number): Promise<void> => {
      const client = await rawClient(port)
      client.write(handshake(url, { 'Sec-WebSocket-Protocol': offered }))
      const { status, headers } = await client.answer()
      expect(status).to.equal(101)
      expect(headers.get('sec-websocket-protocol')).to.deep.equal(['chat'])
      expect(headers.get('x-set-by-koa')).to.equal(undefined)
    }

    /** Sets a header, removes the credentials, and abandons upgrades for the neighbor. */
    const abandoning = (abandoned: () => void) => (app: Koa) => {
      app.use((ctx, next) => {
        ctx.set('x-set-by-koa', 'yes')
        return next()
      })
      app.use(bearer({ query: 'token' }))
      app.use(async (ctx, next) => {
        if (!ctx.path.startsWith('/theirs')) return next()
        ctx.ws?.abandon()
        abandoned()
      })
    }

    it('after ctx.ws.abandon() behind the gate', async () => {
      const { server, hub } = site(
        {},
        abandoning(() => {}),
      )
      const seen = remember(server, () => null)
      hub.attach(server, { gate: true })
      const port = await listen(server)
      await useTheirs(port)
      expectUntouched(seen)
      await useOurs(port)
    })

    it('after ctx.ws.abandon() behind the gate, with the token that bearer() removed back in its URL', async () => {
      const { server, hub } = site({}, (app) => {
        app.use(bearer({ query: 'access_token' }))
        app.use(async (ctx, next) => {
          if (!ctx.path.startsWith('/theirs')) return next()
          expect(ctx.req.url).to.equal('/theirs?room=1')
          expect(ctx.get('authorization')).to.equal('Bearer secret')
          ctx.ws?.abandon()
        })
      })
      const seen = remember(server, () => null)
      hub.attach(server, { gate: true })
      const client = await rawClient(await listen(server))
      client.write(handshake(url, { 'Sec-WebSocket-Protocol': 'chat' }))
      expect((await client.answer()).status).to.equal(101)
      expect(seen[0]?.url).to.equal(url)
    })

    it('after ctx.ws.abandon() without the gate, when the neighbor claims it later', async () => {
      const left = deferred()
      const { server, hub, errors } = site({}, abandoning(left.resolve))
      const seen = remember(server, () => left.promise)
      hub.attach(server)
      const port = await listen(server)
      await useTheirs(port)
      expectUntouched(seen)
      await useOurs(port)
      expect(errors).to.deep.equal([])
    })

    it('after a 404 of the chain behind the gate', async () => {
      const { server, hub } = site({}, (app) => {
        app.use(bearer({ query: 'token' }))
      })
      const seen = remember(server, () => null)
      hub.attach(server, { gate: true })
      const port = await listen(server)
      await useTheirs(port)
      expectUntouched(seen)
    })

    for (const gate of [false, true]) {
      it(`by koaWs({ filter }) ${gate ? 'with' : 'without'} the gate`, async () => {
        let reached = 0
        const filter = (req: IncomingMessage): boolean => !req.url?.startsWith('/theirs')
        const { server, hub } = site({ filter }, (app) => {
          app.use((ctx, next) => {
            if (ctx.path === '/theirs') reached++
            return next()
          })
        })
        const seen = remember(server, () => null)
        hub.attach(server, { gate })
        const port = await listen(server)
        await useTheirs(port)
        expectUntouched(seen)
        expect(reached).to.equal(0)
        await useOurs(port)
      })
    }

    it('by koaWs({ filter }), when the neighbor claims it later', async () => {
      const filter = (req: IncomingMessage): boolean => !req.url?.startsWith('/theirs')
      const { server, hub } = site({ filter })
      const seen = remember(server, () => new Promise((resolve) => setImmediate(resolve)))
      hub.attach(server)
      const port = await listen(server)
      await useTheirs(port)
      expectUntouched(seen)
    })
  })
})

/** An app with routes of koaws, on a server that does not listen yet. */
function site(
  options: KoaWsOptions = {},
  build: (app: Koa) => void = () => {},
): { server: Server; hub: Hub; errors: { error: Error }[] } {
  const { app, errors } = makeApp()
  const hub = makeHub(options)
  app.use(hub)
  build(app)
  const accepted = accept((connection) => {
    connection.on('message', (data) => connection.send(`ours: ${data}`))
  })
  app.use(async (ctx, next) => {
    if (ctx.path === '/ours') await accepted(ctx as never, next)
    else if (ctx.path === '/ours-inside') {
      const connection = await ctx.ws?.()
      connection?.on('message', (data) => connection.send(`ours: ${data}`))
    } else if (ctx.path === '/rejected') ctx.throw(401, 'no entry')
    else if (ctx.path === '/plain') ctx.body = 'plain'
    else await next()
  })
  return { server: createServer(app.callback()), hub, errors }
}

async function useOurs(port: number): Promise<void> {
  for (const path of ['/ours', '/ours-inside']) {
    const socket = await openSocket(port, path)
    socket.send('hi')
    expect(await socket.next()).to.equal('ours: hi')
    socket.close(1000)
    expect((await socket.closed).code).to.equal(1000)
  }
}
