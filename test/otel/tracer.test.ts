import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import {
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace'
import { expect } from 'chai'
import { messages } from '../../lib/index.ts'
import { type InstrumentOptions, instrument } from '../../lib/otel/index.ts'
import { cleanUp, eventually, type Site } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'
import { type Sdk, startSdk, traceRequests } from './support/sdk.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const PARENT = `00-${TRACE}-${SPAN}-01`

describe('spans of messages', () => {
  let sdk: Sdk
  let stop: () => void
  afterEach(async () => {
    stop()
    await cleanUp()
    await sdk.stop()
  })

  /** Serves messages; each request, upgrades included, is in a span. */
  async function serveTraced(
    chat: Parameters<typeof serveMessages>[0],
    options: InstrumentOptions & { sampler?: Sampler } = {},
  ): Promise<Site> {
    const { sampler, ...given } = options
    sdk = startSdk(sampler)
    const { meterProvider, tracerProvider } = sdk
    const site = await serveMessages(chat)
    traceRequests(site.server, tracerProvider)
    stop = instrument(site.hub, { meterProvider, tracerProvider, ...given })
    return site
  }

  const named = (name: string) => sdk.spans().find((span) => span.name === name)

  it('surround the handler, as a trace of their own with a link to the upgrade', async () => {
    let active: string | undefined
    const chat = messages().on('ask', async () => {
      await null
      active = trace.getActiveSpan()?.spanContext().spanId
      return 1
    })
    const { port } = await serveTraced(chat)
    const socket = await talk(port)
    await ask(socket, 'ask')
    await ask(socket, 'ask')
    const [upgrade, span, second] = [named('GET'), named('ask'), sdk.spans().at(-1)]
    expect(span?.kind).to.equal(SpanKind.SERVER)
    expect(span?.attributes).to.deep.equal({ 'rpc.system.name': 'koaws', 'rpc.method': 'ask' })
    expect(second?.spanContext().spanId).to.equal(active)
    expect(span?.parentSpanContext).to.equal(undefined)
    expect(span?.links.map(({ context: linked }) => linked.spanId)).to.deep.equal([
      upgrade?.spanContext().spanId,
    ])
    const traces = [upgrade, span, second].map((one) => one?.spanContext().traceId)
    expect(new Set(traces).size).to.equal(3)
    expect(span?.status).to.deep.equal({ code: SpanStatusCode.UNSET })
  })

  it('have the kind of a consumer for messages without a reply', async () => {
    const { port } = await serveTraced(messages().on('note', () => {}))
    const socket = await talk(port)
    socket.json({ type: 'note', data: { body: 'private' } })
    await eventually(() => named('process note') !== undefined)
    expect(named('process note')?.kind).to.equal(SpanKind.CONSUMER)
    expect(named('process note')?.attributes).to.deep.equal({
      'messaging.system.name': 'koaws',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'koaws.message.type': 'note',
    })
  })

  it('continue the trace of the client', async () => {
    const { port } = await serveTraced(messages().on('ask', () => 1))
    const socket = await talk(port)
    socket.json({ type: 'ask', id: 1, trace: PARENT })
    await hear(socket)
    expect(named('ask')?.spanContext().traceId).to.equal(TRACE)
    expect(named('ask')?.parentSpanContext?.spanId).to.equal(SPAN)
    expect(named('ask')?.links).to.have.length(1)
    socket.json({ type: 'ask', id: 2, trace: 'not a traceparent' })
    await hear(socket)
    expect(sdk.spans().at(-1)?.parentSpanContext).to.equal(undefined)
  })

  it("link the trace of the client with clientTrace: 'link'", async () => {
    const { port } = await serveTraced(
      messages().on('ask', () => 1),
      { clientTrace: 'link' },
    )
    const socket = await talk(port)
    socket.json({ type: 'ask', id: 1, trace: PARENT })
    await hear(socket)
    expect(named('ask')?.parentSpanContext).to.equal(undefined)
    expect(named('ask')?.links.map(({ context: linked }) => linked.spanId)).to.include(SPAN)
  })

  it("ignore the trace of the client with clientTrace: 'ignore'", async () => {
    const { port } = await serveTraced(
      messages().on('ask', () => 1),
      { clientTrace: 'ignore' },
    )
    const socket = await talk(port)
    socket.json({ type: 'ask', id: 1, trace: PARENT })
    await hear(socket)
    expect(named('ask')?.spanContext().traceId).to.not.equal(TRACE)
    expect(named('ask')?.links).to.have.length(1)
  })

  it('have an error status for a failure of the server, and no text of the error', async () => {
    const chat = messages()
      .on('broken', async () => {
        throw new RangeError('password=hunter2')
      })
      .on('sync', () => {
        throw Object.assign(new Error('hunter2'), { code: 'E_DB' })
      })
      .on('taken', () => {
        throw Object.assign(new Error('taken'), { status: 409, expose: true, code: 'taken' })
      })
    const { port } = await serveTraced(chat)
    const socket = await talk(port)
    for (const type of ['broken', 'sync', 'taken']) await ask(socket, type)
    expect(named('broken')?.status).to.deep.equal({ code: SpanStatusCode.ERROR })
    expect(named('broken')?.attributes).to.include({ 'error.type': 'RangeError' })
    expect(named('sync')?.status).to.deep.equal({ code: SpanStatusCode.ERROR })
    expect(named('sync')?.attributes).to.include({ 'error.type': 'E_DB' })
    expect(named('taken')?.status).to.deep.equal({ code: SpanStatusCode.UNSET })
    expect(named('taken')?.attributes).to.include({
      'error.type': 'taken',
      'rpc.status_code': '409',
    })
    expect(sdk.spans().flatMap(({ events }) => events)).to.deep.equal([])
  })

  it('end when a result settles that is no promise, and with hostile errors', async () => {
    const lazy = {
      // biome-ignore lint/suspicious/noThenProperty: a query of some libraries is such an object
      then(resolve: (value: unknown) => void) {
        setImmediate(resolve, 'from the database')
      },
    }
    const chat = messages()
      .on('query', () => lazy)
      .on('hostile', () => {
        throw new Proxy(new Error('x'), {
          get() {
            throw new Error('no')
          },
        })
      })
    const { port } = await serveTraced(chat)
    const socket = await talk(port)
    expect((await ask(socket, 'query')).data).to.equal('from the database')
    expect((await ask(socket, 'hostile')).error).to.include({ code: 'internal' })
    expect(named('query')?.status.code).to.equal(SpanStatusCode.UNSET)
    expect(named('hostile')?.attributes['error.type']).to.equal('_OTHER')
  })

  it('follow the sampler: nothing is recorded or written without a sampled trace', async () => {
    const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0) })
    let spanId: string | undefined
    const chat = messages().on('say', ({ connection }) => {
      spanId = trace.getActiveSpan()?.spanContext().spanId
      connection.push('said')
    })
    const { port } = await serveTraced(chat, { sampler, propagate: true })
    const socket = await talk(port)
    socket.json({ type: 'say' })
    expect(await hear(socket)).to.deep.equal({ type: 'said' })
    expect(spanId).to.be.a('string')
    expect(sdk.spans()).to.deep.equal([])
    socket.json({ type: 'say', trace: PARENT })
    expect((await hear(socket)) as object).to.deep.equal({
      type: 'said',
      trace: `00-${TRACE}-${spanId}-01`,
    })
  })

  it('give their context to pushes of the types that were asked for', async () => {
    const chat = messages().on('say', ({ connection }) => {
      connection.push('said')
      connection.push('other')
    })
    const { port } = await serveTraced(chat, { propagate: ['said'] })
    const socket = await talk(port)
    socket.json({ type: 'say' })
    const said = (await hear(socket)) as { trace?: string }
    expect(said.trace).to.match(/^00-[\da-f]{32}-[\da-f]{16}-01$/)
    await eventually(() => named('process say') !== undefined)
    expect(said.trace).to.include(named('process say')?.spanContext().spanId)
    expect(await hear(socket)).to.deep.equal({ type: 'other' })
  })

  it('carry the tracestate of the client to pushes', async () => {
    const chat = messages().on('say', ({ connection }) => connection.push('said'))
    const { port } = await serveTraced(chat, { propagate: true })
    const socket = await talk(port)
    socket.json({ type: 'say', trace: PARENT, tracestate: 'vendor=a1,other=b' })
    const said = await hear(socket)
    expect(said).to.include({ type: 'said', tracestate: 'vendor=a1,other=b' })
    expect(named('process say')?.spanContext().traceState?.get('vendor')).to.equal('a1')
    for (const message of [
      { trace: PARENT, tracestate: 7 },
      { trace: PARENT, tracestate: `a=${'x'.repeat(600)}` },
      { tracestate: 'a=1' },
    ]) {
      socket.json({ type: 'say', ...message })
      expect(await hear(socket)).to.have.all.keys('type', 'trace')
    }
  })

  it('surround a request to a client, inside of the span of the handler that sends it', async () => {
    const chat = messages().on('order', async ({ connection }) => {
      try {
        return await connection.request('confirm', { card: 'private' }, { timeout: 60_000 })
      } catch {
        return 'refused'
      }
    })
    const { port } = await serveTraced(chat, { propagate: ['confirm'] })
    const socket = await talk(port)
    socket.json({ type: 'order', id: 1, trace: PARENT })
    const asked = await hear(socket)
    expect(asked).to.deep.include({ type: 'confirm', data: { card: 'private' } })
    socket.json({ type: 'koaws:reply', id: asked.id, data: true })
    expect(await hear(socket)).to.include({ id: 1, data: true })
    const [confirm, order] = [named('confirm'), named('order')]
    expect(confirm?.kind).to.equal(SpanKind.CLIENT)
    expect(confirm?.attributes).to.deep.equal({
      'rpc.system.name': 'koaws',
      'rpc.method': 'confirm',
    })
    expect(confirm?.parentSpanContext?.spanId).to.equal(order?.spanContext().spanId)
    expect(confirm?.links).to.deep.equal(order?.links)
    expect(asked).to.include({ trace: `00-${TRACE}-${confirm?.spanContext().spanId}-01` })
    socket.json({ type: 'order', id: 2 })
    const error = { status: 404, code: 'no-card', message: 'hunter2' }
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:error', id, error })
    expect(await hear(socket)).to.include({ id: 2, data: 'refused' })
    const failed = sdk.spans().filter(({ name }) => name === 'confirm')[1]
    expect(failed?.status).to.deep.equal({ code: SpanStatusCode.ERROR })
    expect(failed?.attributes).to.include({ 'error.type': 'no-card', 'rpc.status_code': '404' })
    expect(JSON.stringify([failed?.attributes, failed?.events])).to.not.include('hunter2')
  })

  it('end when the client of a request leaves', async () => {
    const chat = messages().on('order', ({ connection }) => connection.request('confirm'))
    const { port } = await serveTraced(chat)
    const socket = await talk(port)
    socket.json({ type: 'order', id: 1 })
    expect(await hear(socket)).to.not.have.property('trace')
    socket.terminate()
    await eventually(() => named('confirm') !== undefined)
    expect(named('confirm')?.attributes).to.include({ 'error.type': 'ERR_KOAWS_CLOSED' })
  })

  it('are not in pushes unless asked for', async () => {
    const chat = messages().on('say', ({ connection }) => connection.push('said'))
    const { port } = await serveTraced(chat)
    const socket = await talk(port)
    socket.json({ type: 'say' })
    expect(await hear(socket)).to.deep.equal({ type: 'said' })
  })

  it('are made by the tracer of the last call only', async () => {
    const chat = messages().on('ask', () => 1)
    const { hub, port } = await serveTraced(chat, { metrics: false })
    const socket = await talk(port)
    hub.trace(null)
    await ask(socket, 'ask')
    expect(named('ask')).to.equal(undefined)
  })
})
