// No credential, no message body and no name of a person or room reaches metrics or traces.
import { expect } from 'chai'
import { accept, bearer, messages } from '../../lib/index.ts'
import { instrument } from '../../lib/otel/index.ts'
import { metrics } from '../../lib/prometheus/index.ts'
import { startSdk, traceRequests } from '../otel/support/sdk.ts'
import { cleanUp, openSocket, rejected, serve } from '../support/server.ts'
import { ask, hear } from '../support/talk.ts'

/** Each is in a place of its own of an upgrade or a message. */
const SECRETS = [
  ...['secret-token', 'secret-bearer', 'secret-cookie', 'secret-query', 'secret-path'],
  ...['secret-user', 'secret-room', 'secret-body', 'secret-answer', 'secret-error', 'secret-agent'],
  ...['secret-unknown-type', 'secret-close-reason', 'secret-origin', 'secret-push', 'secret-key'],
]

describe('metrics and traces', () => {
  afterEach(cleanUp)

  it('have no secret of clients or applications', async () => {
    const sdk = startSdk()
    const { meterProvider, tracerProvider } = sdk
    const chat = messages()
      .onOpen((connection) => connection.join('secret-room'))
      .on('ask', () => 'secret-answer')
      .on('note', () => {})
      .on('fail', () => {
        throw new Error('secret-error')
      })
      .on('refuse', () => {
        throw Object.assign(new Error('secret-error'), { status: 409, expose: true })
      })
    const { hub, port, server } = await serve(
      (app) => {
        app.use(bearer())
        app.use((ctx, next) =>
          ctx.path.startsWith('/no') ? ctx.throw(401, 'secret-error') : next(),
        )
        app.use(accept(chat))
      },
      { user: () => 'secret-user', history: { rooms: ['secret-room'], users: true } },
    )
    traceRequests(server, tracerProvider)
    const stop = instrument(hub, { meterProvider, tracerProvider, propagate: true, http: true })
    const middleware = metrics(hub)
    try {
      const headers = {
        Authorization: 'Bearer secret-token',
        Cookie: 'session=secret-cookie',
        'User-Agent': 'secret-agent',
      }
      const socket = await openSocket(port, '/secret-path?key=secret-query', {
        protocols: ['koaws.v1'],
        headers,
      })
      await hear(socket)
      for (const type of ['ask', 'fail', 'refuse', 'secret-unknown-type']) {
        await ask(socket, type, { text: 'secret-body' })
      }
      socket.json({
        type: 'note',
        data: 'secret-body',
        trace: 'secret-key',
        key: 'secret-key-of-16',
      })
      hub.room('secret-room').push('said', 'secret-push')
      expect(await socket.next()).to.include('secret-push')
      await rejected(openSocket(port, '/no/secret-path', { headers }))
      await rejected(
        openSocket(port, '/', { headers: { Origin: 'https://secret-origin.example' } }),
      )
      await rejected(openSocket(port, '/no', { protocols: ['x', 'koaws.bearer.secret-bearer'] }))
      socket.close(4000, 'secret-close-reason')
      await socket.closed
      const scraped = await middleware.registry.metrics()
      const collected = [...(await sdk.metrics()).values()]
      const spans = sdk.spans().map(({ name, attributes, events, links, status }) => ({
        ...{ name, attributes, events, status },
        links: links.map((link) => link.attributes),
      }))
      expect(scraped).to.include('rpc_method="fail"')
      expect(collected).to.have.length.above(20)
      expect(spans.map(({ name }) => name)).to.include.members(['ask', 'fail', 'process note'])
      const written = scraped + JSON.stringify(collected) + JSON.stringify(spans)
      expect(SECRETS.filter((secret) => written.includes(secret))).to.deep.equal([])
      expect(written).to.not.include('secret')
      expect(written).to.not.include('127.0.0.1')
    } finally {
      stop()
      middleware.stop()
      await sdk.stop()
    }
  })
})
