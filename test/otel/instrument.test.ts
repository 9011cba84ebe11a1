import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { z } from 'zod'
import koaWs, { accept, type Hub, messages, OptionsError, protocol } from '../../lib/index.ts'
import { instruments } from '../../lib/metrics/table.ts'
import { type InstrumentOptions, instrument } from '../../lib/otel/index.ts'
import { metrics } from '../../lib/prometheus/index.ts'
import { cleanUp, makeHub, openSocket, serve, soon } from '../support/server.ts'
import { ask, serveMessages, talk } from '../support/talk.ts'
import { pointsOf, type Sdk, startSdk } from './support/sdk.ts'

describe('instrument()', () => {
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

  const start = (hub: Hub, options?: InstrumentOptions): (() => void) => {
    const { meterProvider, tracerProvider } = sdk
    const stop = instrument(hub, { meterProvider, tracerProvider, ...options })
    stops.push(stop)
    return stop
  }

  it('gives the instruments of the table to the SDK, with unit and description', async () => {
    const { hub, port } = await serveMessages(messages().on('ask', () => 'answer'))
    start(hub, { http: true })
    await ask(await talk(port), 'ask')
    const found = await sdk.metrics()
    const known = new Map(instruments.map((one) => [one.name, one]))
    expect(found.size).to.be.above(20)
    for (const [name, { descriptor }] of found) {
      const { unit, description } = known.get(name) ?? {}
      expect([descriptor.unit, descriptor.description], name).to.deep.equal([unit, description])
    }
    expect(pointsOf(found.get('rpc.server.call.duration'))).to.deep.equal({
      'rpc.method=ask,rpc.system.name=koaws': 1,
    })
    expect(pointsOf(found.get('koaws.messages.sent'))).to.include({
      'koaws.message.kind=reply': 1,
    })
    expect(pointsOf(found.get('koaws.connections.active'))).to.include({
      'koaws.connection.state=open': 1,
    })
    expect(pointsOf(found.get('http.server.request.duration'))).to.deep.equal({
      'http.request.method=GET,http.response.status_code=101': 1,
    })
  })

  it('gives histograms the boundaries of the table, which add up over instances', async () => {
    const { hub, port } = await serveMessages(messages().on('ask', () => 'answer'))
    start(hub)
    await ask(await talk(port), 'ask')
    const [point] = (await sdk.metrics()).get('rpc.server.call.duration')?.dataPoints ?? []
    const value = point?.value as { buckets: { boundaries: number[] } } | undefined
    const row = instruments.find(({ name }) => name === 'rpc.server.call.duration')
    expect(value?.buckets.boundaries).to.deep.equal(row?.boundaries)
  })

  it('has every value of a histogram: at a reading, in between, and when it is undone', async () => {
    const { hub, port } = await serveMessages(messages().on('ask', () => 'answer'))
    const stop = start(hub)
    const socket = await talk(port)
    const asked = async (): Promise<number | undefined> =>
      pointsOf((await sdk.metrics()).get('rpc.server.call.duration'))[
        'rpc.method=ask,rpc.system.name=koaws'
      ]
    await ask(socket, 'ask')
    expect(await asked()).to.equal(1)
    for (let i = 0; i < 600; i++) await ask(socket, 'ask')
    expect(await asked()).to.equal(601)
    await ask(socket, 'ask')
    stop()
    expect(await asked()).to.equal(602)
  })

  it('counts on from reading to reading', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    start(hub, { name: 'chat' })
    await openSocket(port)
    const opened = async (): Promise<Record<string, number>> =>
      pointsOf((await sdk.metrics()).get('koaws.connections.opened'))
    const key = 'koaws.hub=chat,koaws.subprotocol=none'
    expect(await opened()).to.deep.equal({ [key]: 1 })
    await openSocket(port)
    expect(await opened()).to.deep.equal({ [key]: 2 })
  })

  it('measures several hubs, under their names', async () => {
    const [one, two] = [makeHub(), makeHub()]
    start(one, { name: 'one' })
    expect(() => start(two, { name: 'one' })).to.throw(
      OptionsError,
      'another hub has the name "one"',
    )
    start(two, { name: 'two' })
    expect(pointsOf((await sdk.metrics()).get('koaws.ready'))).to.deep.equal({
      'koaws.hub=one': 1,
      'koaws.hub=two': 1,
    })
  })

  it('is called once for a hub, until it is undone', () => {
    const hub = makeHub()
    const stop = start(hub)
    expect(() => start(hub, { name: 'again' })).to.throw(OptionsError, 'called twice for one hub')
    stop()
    stop()
    start(hub)
  })

  it('undoes all that it began', async () => {
    const { hub, port } = await serveMessages(messages().on('ask', () => 'answer'))
    const stop = start(hub)
    stop()
    for (const name of ['message', 'connection', 'shutdown', 'handled', 'sent']) {
      expect(channel(`koaws:${name}`).hasSubscribers, name).to.equal(false)
    }
    await ask(await talk(port), 'ask')
    expect((await sdk.metrics()).size).to.equal(0)
    expect(sdk.spans()).to.deep.equal([])
  })

  it('ends with the hub: the SDK reads once more, then no more', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    start(hub, { http: true })
    await openSocket(port)
    await hub.close()
    const last = await sdk.metrics()
    expect(pointsOf(last.get('koaws.connections.closed'))).to.deep.equal({
      'koaws.close.clean=true,koaws.close.code=1012': 1,
    })
    expect(pointsOf(last.get('koaws.ready'))).to.deep.equal({ '': 0 })
    await soon(() => expect(channel('koaws:shutdown').hasSubscribers).to.equal(false))
    start(makeHub()) // the name is free again
    const next = await sdk.metrics()
    expect(pointsOf(next.get('koaws.ready'))).to.deep.equal({ '': 1 })
  })

  it('measures nothing with metrics: false, and makes no spans with traces: false', async () => {
    const { hub, port } = await serveMessages(messages().on('ask', () => 'answer'))
    start(hub, { metrics: false })
    await ask(await talk(port), 'ask')
    expect((await sdk.metrics()).size).to.equal(0)
    expect(sdk.spans()).to.have.length(1)
    for (const stop of stops) stop()
    start(hub, { traces: false })
    await ask(await talk(port), 'ask')
    expect(sdk.spans()).to.have.length(1)
  })

  it('does nothing without an SDK', async () => {
    const { hub, port } = await serveMessages(
      messages()
        .onOpen((connection) => connection.join('lobby'))
        .on('ask', () => 'answer'),
    )
    stops.push(instrument(hub, { propagate: true }))
    const socket = await talk(port)
    expect(await ask(socket, 'ask')).to.deep.include({ data: 'answer' })
    hub.room('lobby').push('said', 1)
    expect(await socket.next()).to.equal('{"type":"said","data":1}')
  })

  it('takes a hub with a protocol', () => {
    const chat = protocol({ say: { data: z.object({ text: z.string() }) } })
    const hub = koaWs({ protocol: chat })
    instrument(hub)()
    metrics(hub).stop()
  })

  it('rejects a closed hub', async () => {
    const hub = makeHub()
    await hub.close()
    expect(() => instrument(hub)).to.throw(OptionsError, 'hub.close() was called')
    expect(() => metrics(hub)).to.throw(OptionsError, 'hub.close() was called')
  })

  it('rejects what is no hub, and options that are unknown or wrong', () => {
    const hub = makeHub()
    const wrong = (options: object) => () => instrument(hub, options)
    expect(() => instrument({} as never)).to.throw(OptionsError, 'is not a hub')
    expect(wrong({ meter: {} })).to.throw(OptionsError, 'has no option "meter"')
    expect(wrong({ meterProvider: {} })).to.throw('must be a MeterProvider')
    expect(wrong({ tracerProvider: 1 })).to.throw('must be a TracerProvider')
    expect(wrong({ propagate: 'said' })).to.throw('an array of the types')
    expect(wrong({ clientTrace: true })).to.throw("must be 'parent', 'link' or 'ignore'")
    expect(wrong({ name: '' })).to.throw('must be a name')
    instrument(hub)() // no failed call has left anything behind
  })
})
