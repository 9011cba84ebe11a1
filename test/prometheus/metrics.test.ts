import { channel } from 'node:diagnostics_channel'
import Router from '@koa/router'
import { expect } from 'chai'
import { Counter, type OpenMetricsContentType, Registry } from 'prom-client'
import { accept, messages, OptionsError } from '../../lib/index.ts'
import { prometheusName } from '../../lib/metrics/instrument.ts'
import { instruments } from '../../lib/metrics/table.ts'
import { type MetricsMiddleware, metrics } from '../../lib/prometheus/index.ts'
import { cleanUp, makeHub, openSocket, serve, soon } from '../support/server.ts'
import { ask, serveMessages, talk } from '../support/talk.ts'

function scrape(port: number, path = '/metrics', init?: RequestInit): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, init)
}

/** Returns the value of a line of the exposition; undefined when it is not there. */
function lineOf(text: string, start: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${start} `))
  return line === undefined ? undefined : Number(line.slice(start.length + 1))
}

describe('metrics()', () => {
  const made: MetricsMiddleware[] = []
  const measure: typeof metrics = (hub, options) => {
    const middleware = metrics(hub, options)
    made.push(middleware)
    return middleware
  }
  afterEach(async () => {
    for (const middleware of made.splice(0)) middleware.stop()
    await cleanUp()
  })

  it('answers GET /metrics with all instruments of the table', async () => {
    const { port } = await serve((app, hub) => app.use(measure(hub)).use(accept(() => {})))
    await openSocket(port)
    const answer = await scrape(port)
    expect(answer.status).to.equal(200)
    expect(answer.headers.get('content-type')).to.equal('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.headers.get('cache-control')).to.equal('no-store')
    const text = await answer.text()
    for (const instrument of instruments) {
      expect(text).to.include(`# HELP ${prometheusName(instrument)} `)
    }
    expect(
      lineOf(text, 'koaws_connections_opened_total{koaws_hub="default",koaws_subprotocol="none"}'),
    ).to.equal(1)
    expect(
      lineOf(text, 'koaws_connections_active{koaws_hub="default",koaws_connection_state="open"}'),
    ).to.equal(1)
    expect(text).to.include('# TYPE koaws_connections_active gauge')
    expect(text).to.include('# TYPE koaws_connections_opened_total counter')
  })

  it('writes histograms with cumulative buckets', async () => {
    const chat = messages().on('ask', () => 'answer')
    const { hub, port } = await serveMessages(chat)
    const { registry } = measure(hub)
    const socket = await talk(port)
    await ask(socket, 'ask')
    await ask(socket, 'ask')
    const text = await registry.metrics()
    const labels = 'koaws_hub="default",rpc_system_name="koaws",rpc_method="ask"'
    const name = 'rpc_server_call_duration_seconds'
    const counts = text
      .split('\n')
      .filter((line) => line.startsWith(`${name}_bucket{`) && line.includes('"ask"'))
      .map((line) => Number(line.split(' ')[1]))
    expect(counts).to.have.length(15)
    expect(counts).to.deep.equal([...counts].sort((a, b) => a - b))
    expect(counts.at(-1)).to.equal(2)
    expect(lineOf(text, `${name}_count{${labels}}`)).to.equal(2)
    expect(lineOf(text, `${name}_sum{${labels}}`)).to.be.above(0)
  })

  it('lets all other requests pass, and answers behind a router as well', async () => {
    const { port } = await serve((app, hub) => {
      const router = new Router()
      router.get('/internal/metrics', measure(hub, { path: '/internal/metrics' }))
      app.use(router.routes())
      app.use((ctx) => {
        ctx.body = 'the app'
      })
    })
    expect(await (await scrape(port, '/internal/metrics?a=b')).text()).to.include('koaws_ready')
    expect(await (await scrape(port, '/metrics')).text()).to.equal('the app')
    const head = await scrape(port, '/internal/metrics', { method: 'HEAD' })
    expect(head.headers.get('content-type')).to.include('text/plain')
    const post = await scrape(port, '/internal/metrics', { method: 'POST' })
    expect(await post.text()).to.equal('the app')
  })

  it('puts several hubs into one registry, under their names', async () => {
    const registry = new Registry()
    const other = makeHub()
    const { hub, port } = await serve((app, first) => {
      app.use(measure(first, { registry, name: 'chat' }))
    })
    expect(() => measure(other, { registry, name: 'chat' })).to.throw(
      OptionsError,
      'a hub "chat" already. Give each hub its own option "name"',
    )
    measure(other, { registry, name: 'games' })
    const text = await (await scrape(port)).text()
    expect(lineOf(text, 'koaws_rooms_active{koaws_hub="chat"}')).to.equal(0)
    expect(lineOf(text, 'koaws_rooms_active{koaws_hub="games"}')).to.equal(0)
    expect(text.match(/# TYPE koaws_rooms_active /g)).to.have.length(1)
    expect(hub.status().ready).to.equal(true)
  })

  it('uses the registry of the application, with its metrics and default labels', async () => {
    const registry = new Registry()
    registry.setDefaultLabels({ region: 'north' })
    new Counter({ name: 'orders_total', help: 'Orders.', registers: [registry] }).inc(3)
    const { port } = await serve((app, hub) => app.use(measure(hub, { registry })))
    const text = await (await scrape(port)).text()
    expect(lineOf(text, 'orders_total{region="north"}')).to.equal(3)
    expect(lineOf(text, 'koaws_ready{koaws_hub="default",region="north"}')).to.equal(1)
    registry.resetMetrics()
    expect(await registry.metrics()).to.include('koaws_ready{')
    const json = await registry.getMetricsAsJSON()
    expect(json.map(({ name }) => name)).to.include('koaws_messages_received_total')
  })

  it('speaks OpenMetrics when the registry does', async () => {
    const registry = new Registry<OpenMetricsContentType>()
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
    const { port } = await serve((app, hub) => app.use(measure(hub, { registry })))
    const answer = await scrape(port)
    expect(answer.headers.get('content-type')).to.include('application/openmetrics-text')
    const text = await answer.text()
    expect(text).to.include('# TYPE koaws_messages_received counter')
    expect(text).to.include('koaws_messages_received_total{')
    expect(text.trimEnd().endsWith('# EOF')).to.equal(true)
  })

  it('says which metric of the registry has a name of koaws', () => {
    const registry = new Registry()
    const name = 'http_server_request_duration_seconds'
    new Counter({ name, help: 'Mine.', registers: [registry] })
    const hub = makeHub()
    expect(() => measure(hub, { registry })).to.throw(OptionsError, `"${name}" already`)
    measure(hub, { registry, http: false })
  })

  it('leaves out HTTP and the event loop when they are turned off', async () => {
    const { port } = await serve((app, hub) => {
      app.use(measure(hub, { http: false, runtime: false }))
    })
    const text = await (await scrape(port)).text()
    expect(text).to.include('koaws_upgrade_duration_seconds')
    expect(text).to.not.match(/nodejs_|http_server_/)
  })

  it('is called once for a hub', () => {
    const hub = makeHub()
    const first = measure(hub)
    expect(() => measure(hub)).to.throw(OptionsError, 'called twice for one hub')
    first.stop()
    measure(hub)
  })

  it('rejects what is no hub, and options that are unknown or wrong', () => {
    const hub = makeHub()
    expect(() => metrics({} as never)).to.throw(OptionsError, 'is not a hub')
    expect(() => metrics(undefined as never)).to.throw(OptionsError, 'is not a hub')
    expect(() => metrics(hub, { register: new Registry() } as never)).to.throw(
      'no option "register"',
    )
    expect(() => metrics(hub, { registry: {} as never })).to.throw('must be a Registry')
    expect(() => metrics(hub, { path: 'metrics' })).to.throw('begins with "/"')
    expect(() => metrics(hub, null as never)).to.throw(OptionsError, 'an object')
  })

  it('has the last values after the end of the hub, and gives its name away', async () => {
    const registry = new Registry()
    const { hub, port } = await serve((app, first) => {
      app.use(measure(first, { registry }))
      app.use(accept(() => {}))
    })
    await openSocket(port)
    await hub.close()
    const text = await registry.metrics()
    expect(
      lineOf(text, 'koaws_connections_active{koaws_hub="default",koaws_connection_state="open"}'),
    ).to.equal(0)
    expect(
      lineOf(
        text,
        'koaws_connections_closed_total{koaws_hub="default",koaws_close_code="1012",koaws_close_clean="true"}',
      ),
    ).to.equal(1)
    expect(
      lineOf(text, 'koaws_shutdown_connections{koaws_hub="default",koaws_shutdown_stage="end"}'),
    ).to.equal(0)
    measure(makeHub(), { registry })
    expect(lineOf(await registry.metrics(), 'koaws_ready{koaws_hub="default"}')).to.equal(1)
  })

  it('ends all that it began with stop()', async () => {
    const registry = new Registry()
    const { port } = await serve((app, hub) => app.use(measure(hub, { registry })))
    expect(channel('koaws:message').hasSubscribers).to.equal(true)
    for (const one of made) one.stop()
    for (const one of made) one.stop()
    await soon(() => expect(channel('koaws:message').hasSubscribers).to.equal(false))
    expect(await registry.metrics()).to.equal('\n')
    expect((await scrape(port)).status).to.equal(404)
  })
})
