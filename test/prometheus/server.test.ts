import { spawnSync } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { accept, memoryAdapter, messages } from '../../lib/index.ts'
import { type MetricsMiddleware, metrics } from '../../lib/prometheus/index.ts'
import { needs, pathOf } from '../support/programs.ts'
import { comeBack } from '../support/recovery.ts'
import { cleanUp, openSocket, PATIENCE, rejected, type Site, serve } from '../support/server.ts'
import { ask, hear, talk } from '../support/talk.ts'
import { dashboardQueries, metricsIn, RULES } from './support/files.ts'
import { startPrometheus, type TestPrometheus } from './support/server.ts'

/** Metrics without a series in this test: what causes them takes long, or cannot be caused from outside. */
const WITHOUT_DATA = [
  ...['koaws_backplane_faults_total', 'koaws_backplane_instances_expected', 'koaws_drops_total'],
  ...['koaws_connections_ended_total', 'koaws_connections_throttled_total'],
  ...['koaws_messages_dropped_total', 'koaws_shutdown_connections'],
]

/** An app with traffic of most kinds. */
async function busySite(): Promise<Site & { middleware: MetricsMiddleware }> {
  const chat = messages()
    .onOpen((connection) => connection.join('chat:1'))
    .on('say', ({ connection }) => connection.to('chat:1').push('said', 'hi'))
    .on('ask', () => 'answer')
    .on('ask back', ({ connection }) => connection.request('ready'))
    .on('fail', () => {
      throw Object.assign(new Error('taken'), { status: 409, expose: true, code: 'taken' })
    })
  let middleware!: MetricsMiddleware
  const site = await serve(
    (app, hub) => {
      middleware = metrics(hub)
      app.use(middleware)
      app.use((ctx, next) => (ctx.path === '/no' ? ctx.throw(404) : next()))
      app.use(accept(chat))
    },
    { adapter: memoryAdapter(), history: { rooms: 'chat:*', messages: 5 } },
  )
  return { ...site, middleware }
}

/** Causes an event of each kind. */
async function makeTraffic({ hub, port }: Site): Promise<void> {
  const socket = await talk(port)
  const other = await talk(port)
  await ask(socket, 'ask')
  await ask(socket, 'fail')
  await ask(socket, 'unknown')
  const { id } = await ask(socket, 'ask back')
  socket.json({ type: 'koaws:reply', id, data: true })
  await hear(socket)
  socket.json({ type: 'say' })
  await hear(other)
  for (const connection of hub.localConnections.values()) connection.ping()
  await rejected(openSocket(port, '/no'))
  await rejected(openSocket(port, '/', { headers: { Origin: 'https://evil.example' } }))
  const room = hub.room('chat:1')
  const since = await room.position()
  room.push('said', 1)
  await (await comeBack(port, '', { positions: { 'chat:1': since } })).rest()
  hub.room('no history').send('to all instances')
  const { id: instance } = hub.status()
  channel('koaws:lost').publish({ instance, direction: 'in', from: '', count: 0 })
  socket.close(1000)
  other.close(4999)
}

describe('a real Prometheus', function () {
  this.timeout(PATIENCE)
  needs('prometheus')
  let site: Site & { middleware: MetricsMiddleware }
  let prometheus: TestPrometheus
  before(async () => {
    site = await busySite()
    await makeTraffic(site)
    prometheus = await startPrometheus(site.port, RULES)
    const scrapes = async (least: number): Promise<void> => {
      for (;;) {
        const [sample] = await prometheus.query('count_over_time(koaws_ready[1m])')
        if (Number(sample?.value[1]) >= least) return
        await sleep(50)
      }
    }
    await scrapes(2)
    await makeTraffic(site)
    const [before] = await prometheus.query('count_over_time(koaws_ready[1m])')
    await scrapes(Number(before?.value[1]) + 2)
  })
  after(async () => {
    await prometheus?.stop()
    site?.middleware.stop()
    await cleanUp()
  })

  it('scrapes the hub', async () => {
    const { activeTargets } = (await prometheus.api('targets')) as {
      activeTargets: { health: string; lastError: string }[]
    }
    expect(activeTargets.map(({ health, lastError }) => [health, lastError])).to.deep.equal([
      ['up', ''],
    ])
    const [opened] = await prometheus.query(
      'koaws_connections_opened_total{koaws_subprotocol="koaws.v1"}',
    )
    expect(Number(opened?.value[1])).to.be.at.least(4)
    expect(opened?.metric).to.include({ job: 'chat', koaws_hub: 'default' })
  })

  it('finds nothing to complain about in the format', async () => {
    const text = await site.middleware.registry.metrics()
    const { status, stdout, stderr } = spawnSync(pathOf('promtool'), ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    })
    expect(status, stdout + stderr).to.equal(0)
  })

  it('answers each query of the dashboard, with series where there are data', async () => {
    const seen = new Set<string>()
    for (const { panel, expression } of dashboardQueries()) {
      for (const name of metricsIn(expression)) seen.add(name)
      const hasData = !metricsIn(expression).some((name) => WITHOUT_DATA.includes(name))
      let series = await prometheus.query(expression)
      // A scrape that fails on a busy machine leaves a gap until the next one.
      for (let i = 0; hasData && series.length === 0 && i < 200; i++) {
        await sleep(50)
        series = await prometheus.query(expression)
      }
      if (hasData) expect(series, `${panel}: ${expression}`).to.not.be.empty
    }
    expect(seen.size).to.be.above(40)
  })

  it('adds up the quantiles of a histogram', async () => {
    const [sample] = await prometheus.query(
      'histogram_quantile(0.99, sum by (le) (rate(rpc_server_call_duration_seconds_bucket{rpc_method="ask"}[1m])))',
    )
    expect(Number(sample?.value[1])).to.be.within(0, 10)
  })

  it('evaluates each alert, of which only those of the test may be on', async () => {
    for (;;) {
      const { groups } = (await prometheus.api('rules')) as {
        groups: { rules: { name: string; health: string; lastError?: string; state: string }[] }[]
      }
      const rules = groups.flatMap((group) => group.rules)
      expect(rules).to.have.length(17)
      if (rules.some(({ health }) => health === 'unknown')) {
        await sleep(50)
        continue
      }
      for (const { name, health, lastError } of rules)
        expect(health, `${name} ${lastError}`).to.equal('ok')
      const on = rules.filter(({ state }) => state !== 'inactive').map(({ name }) => name)
      const expected = ['KoawsMessagesLost', 'KoawsUpgradesRejected', 'KoawsEventLoopBlocked']
      expect(on.filter((name) => !expected.includes(name))).to.deep.equal([])
      return
    }
  })
})
