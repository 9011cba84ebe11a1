// One trace from an HTTP request through the hub and another instance to the handler of a client.
import { context, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import { connect } from '../../lib/client/index.ts'
import { type Adapter, accept, memoryAdapter, messages } from '../../lib/index.ts'
import { instrument } from '../../lib/otel/index.ts'
import { parseTraceparent } from '../../lib/otel/traceparent.ts'
import { libraries } from '../adapters/redis/clients.ts'
import { needs } from '../support/programs.ts'
import { startRedis, stopRedis, type TestRedis } from '../support/redis.ts'
import { cleanUp, deferred, eventually, type Site, serve } from '../support/server.ts'
import { type Sdk, startSdk, traceRequests } from './support/sdk.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

function traceFlow(adapters: () => Promise<[Adapter, Adapter]>): void {
  let sdk: Sdk
  let stops: (() => void)[]
  beforeEach(() => {
    sdk = startSdk()
    stops = []
  })
  afterEach(async () => {
    for (const stop of stops) stop()
    await cleanUp()
    await sdk.stop()
  })

  it('is one trace', async () => {
    const { meterProvider, tracerProvider } = sdk
    const joined = deferred<void>()
    const start = async (adapter: Adapter, name: string): Promise<Site> => {
      const site = await serve(
        (app, hub) => {
          const chat = messages().onOpen(async (connection) => {
            await connection.join('lobby')
            joined.resolve()
          })
          app.use(async (ctx, next) => {
            if (ctx.method !== 'POST') return next()
            await null
            hub.room('lobby').push('said', { text: 'hello' })
            ctx.status = 204
          })
          app.use(accept(chat))
        },
        { adapter },
      )
      traceRequests(site.server, tracerProvider)
      const given = { meterProvider, tracerProvider, name, propagate: ['said'] }
      stops.push(instrument(site.hub, given))
      return site
    }
    const [first, second] = await adapters()
    const one = await start(first, 'one')
    const two = await start(second, 'two')
    await eventually(() => [one, two].every(({ hub }) => hub.status().backplane.instances === 1))

    const client = connect(`ws://127.0.0.1:${two.port}/`, { WebSocket: WebSocket as never })
    stops.push(() => client.close())
    const heard = deferred<unknown>()
    const ofClient = tracerProvider.getTracer('client')
    client.on('said', (data, message) => {
      const remote = parseTraceparent(message.trace ?? '')
      const parent = remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT
      ofClient.startSpan('client said', { kind: SpanKind.CONSUMER }, parent).end()
      heard.resolve(data)
    })
    await joined.promise // Redis delivers messages to the room from now on
    const answer = await fetch(`http://127.0.0.1:${one.port}/say`, {
      method: 'POST',
      headers: { traceparent: `00-${TRACE}-${SPAN}-01` },
    })
    expect(answer.status).to.equal(204)
    expect(await heard.promise).to.deep.equal({ text: 'hello' })
    await eventually(() => sdk.spans().some(({ name }) => name === 'POST'))
    const post = sdk.spans().find(({ name }) => name === 'POST')
    const handled = sdk.spans().find(({ name }) => name === 'client said')
    expect(post?.spanContext().traceId).to.equal(TRACE)
    expect(post?.parentSpanContext?.spanId).to.equal(SPAN)
    expect(handled?.spanContext().traceId).to.equal(TRACE)
    expect(handled?.parentSpanContext?.spanId).to.equal(post?.spanContext().spanId)
    expect(context.active()).to.equal(ROOT_CONTEXT)
  })
}

describe('a push from a request to a client of another instance', () => {
  describe('in one process', () => {
    traceFlow(async () => {
      const adapter = memoryAdapter()
      return [adapter, adapter]
    })
  })

  describe('over Redis', () => {
    needs('redis-server')
    let redis: TestRedis
    before(async () => {
      redis = await startRedis()
    })
    after(stopRedis)
    traceFlow(async () => {
      const [library] = libraries
      const make = (): Adapter => {
        if (!library) throw new Error('no client library')
        return redisAdapter({ client: library.client(redis.port), heartbeat: 200 })
      }
      return [make(), make()]
    })
  })
})
