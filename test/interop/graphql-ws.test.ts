import { createRequire } from 'node:module'
import Router from '@koa/router'
import { expect } from 'chai'
import type Koa from 'koa'
import { WebSocket, WebSocketServer } from 'ws'
import { accept, type Connection, forward } from '../../lib/index.ts'
import { cleanUp, eventually, openSocket, rejected, serve } from '../support/server.ts'

const load = createRequire(new URL('../peers/package.json', import.meta.url))
const { buildSchema } = load('graphql')
const { createClient, makeServer } = load('graphql-ws')
const { useServer } = load('graphql-ws/use/ws')

const PROTOCOL = 'graphql-transport-ws'

const schema = buildSchema(`
  type Query { hello: String }
  type Subscription { countdown(from: Int!): Int }
`)

const roots = {
  query: { hello: () => 'world' },
  subscription: {
    countdown: async function* ({ from }: { from: number }) {
      for (let i = from; i >= 0; i--) yield { countdown: i }
    },
  },
}

interface Parameters {
  readonly connectionParams?: { readonly token?: string }
}

const options = {
  schema,
  roots,
  onConnect: ({ connectionParams }: Parameters) => connectionParams?.token !== 'bad',
}

describe('graphql-ws', () => {
  const clients: { dispose(): void }[] = []

  afterEach(async () => {
    for (const client of clients.splice(0)) client.dispose()
    await cleanUp()
  })

  const connect = (port: number, token = 'good') => {
    const client = createClient({
      url: `ws://127.0.0.1:${port}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { token },
      retryAttempts: 0,
    })
    clients.push(client)
    return client
  }

  describe('useServer on accept(forward(wss))', () => {
    itServesSubscriptions((app, wss) => {
      useServer(options, wss)
      app.use(routed((router) => router.get('/graphql', accept(forward(wss), { hub: false }))))
    })

    it('fills wss.clients, and the extra of graphql-ws has connection and request', async () => {
      const wss = new WebSocketServer({ noServer: true })
      const seen: { socket: Connection; request: { url: string } }[] = []
      useServer(
        {
          ...options,
          onConnect: ({ extra }: { extra: { socket: Connection; request: { url: string } } }) => {
            seen.push(extra)
            return true
          },
        },
        wss,
      )
      const { port } = await serve((app) =>
        app.use(routed((router) => router.get('/graphql', accept(forward(wss))))),
      )
      await readAll(connect(port), '{ hello }')
      expect(seen).to.have.length(1)
      expect(seen[0]?.request.url).to.equal('/graphql')
      expect(seen[0]?.socket.path).to.equal('/graphql')
    })

    it('closes clients with 1001 on dispose(), and answers later upgrades with 503', async () => {
      const wss = new WebSocketServer({ noServer: true })
      const server = useServer(options, wss)
      const { port } = await serve((app) =>
        app.use(routed((router) => router.get('/graphql', accept(forward(wss))))),
      )
      const socket = await openSocket(port, '/graphql', { protocols: [PROTOCOL] })
      await server.dispose()
      expect((await socket.closed).code).to.equal(1001)
      expect(wss.clients.size).to.equal(0)
      expect((await rejected(openSocket(port, '/graphql'))).status).to.equal(503)
    })

    it('selects its protocol, even when useServer is called after accept()', async () => {
      const wss = new WebSocketServer({ noServer: true })
      const { port } = await serve((app) =>
        app.use(routed((router) => router.get('/graphql', accept(forward(wss))))),
      )
      useServer(options, wss)
      const socket = await openSocket(port, '/graphql', { protocols: ['other', PROTOCOL] })
      expect(socket.protocol).to.equal(PROTOCOL)
    })

    it('closes a client without its protocol with 4406', async () => {
      const wss = new WebSocketServer({ noServer: true })
      useServer(options, wss)
      const { port } = await serve((app) =>
        app.use(routed((router) => router.get('/graphql', accept(forward(wss))))),
      )
      const socket = await openSocket(port, '/graphql')
      expect((await socket.closed).code).to.equal(4406)
      await eventually(() => wss.clients.size === 0, 'its end in wss.clients')
    })
  })

  describe('makeServer on a connection', () => {
    const server = makeServer(options)

    itServesSubscriptions((app) => {
      app.use(
        routed((router) =>
          router.get(
            '/graphql',
            accept(
              (connection, ctx) => {
                const closed = server.opened(
                  {
                    protocol: connection.protocol,
                    send: (data: string) =>
                      new Promise<void>((resolve, reject) => {
                        connection.send(data, (error) => (error ? reject(error) : resolve()))
                      }),
                    close: (code: number, reason: string) => connection.close(code, reason),
                    onMessage: (read: (text: string) => Promise<void>) => {
                      connection.on('message', (data) => void read(String(data)))
                    },
                  },
                  { ctx },
                )
                connection.once('close', (code, reason) => closed(code, String(reason)))
              },
              { subprotocol: PROTOCOL, hub: false },
            ),
          ),
        ),
      )
    })

    it('rejects a client of another protocol with 400', async () => {
      const { port } = await serve((app) =>
        app.use(
          routed((router) =>
            router.get(
              '/graphql',
              accept(() => {}, { subprotocol: PROTOCOL }),
            ),
          ),
        ),
      )
      const error = await rejected(openSocket(port, '/graphql', { protocols: ['other'] }))
      expect(error.status).to.equal(400)
      expect(error.body).to.include(PROTOCOL)
    })
  })

  function itServesSubscriptions(mount: (app: Koa, wss: WebSocketServer) => void): void {
    const start = async () => {
      const wss = new WebSocketServer({ noServer: true })
      return serve((app) => mount(app, wss))
    }

    it('sends the values of a subscription in order, and completes it', async () => {
      const { port, errors } = await start()
      const results = await readAll(connect(port), 'subscription { countdown(from: 3) }')
      expect(results.map(({ data }) => data['countdown'])).to.deep.equal([3, 2, 1, 0])
      expect(errors).to.deep.equal([])
    })

    it('answers queries, several on one connection', async () => {
      const { port, hub } = await start()
      const client = connect(port)
      const queries = await Promise.all([
        readAll(client, '{ hello }'),
        readAll(client, '{ hello }'),
        readAll(client, 'subscription { countdown(from: 1) }'),
      ])
      expect(queries.map((results) => results.length)).to.deep.equal([1, 1, 2])
      expect(hub.status().connections).to.be.at.most(1)
    })

    it('closes with 4403 when the server refuses connection_init', async () => {
      const { port } = await start()
      const closed = await readAll(connect(port, 'bad'), '{ hello }').then(
        () => null,
        (error: { code: number; reason: string }) => error,
      )
      expect(closed).to.include({ code: 4403, reason: 'Forbidden' })
    })
  }
})

function routed(add: (router: Router) => void): Koa.Middleware {
  const router = new Router()
  add(router)
  return router.routes() as unknown as Koa.Middleware
}

interface Executed {
  readonly data: Record<string, unknown>
}

async function readAll(
  client: { iterate(payload: { query: string }): AsyncIterable<Executed> },
  query: string,
): Promise<Executed[]> {
  const results: Executed[] = []
  for await (const result of client.iterate({ query })) results.push(result)
  return results
}
