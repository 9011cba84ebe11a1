import { readFileSync } from 'node:fs'
import { guarded, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, Load } from './lib/load.mjs'
import { templateOf } from './lib/message.mjs'
import { rounds } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'
import { median, round } from './lib/stats.mjs'

const BASELINE = 'ws-send'
const CONTESTANTS = [BASELINE, 'koaws']
const MB = 1024 * 1024

const settings = {
  rounds: number('ROUNDS', 3, { max: 50 }),
  slow: number('SLOW', 100, { max: 5000 }),
  healthy: number('HEALTHY', 50, { max: 5000 }),
  size: number('SIZE', 20_000, { min: 100, max: 1_000_000 }),
  perSecond: number('PER_SECOND', 40, { max: 1000 }),
  window: number('WINDOW', 25_000, { max: 600_000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

function rss(pid) {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(kilobytes) * 1024
}

async function measure(name, load) {
  const server = await startServer(name, {})
  let peak = 0
  let timer
  try {
    const { port } = server
    const run = (ms) =>
      load.command('run', {
        group: 'healthy',
        mode: 'pace',
        size: settings.size,
        intervalUs: Math.round(1e6 / settings.perSecond),
        ms,
        server: server.pid,
      })
    await load.open('healthy', { port, count: settings.healthy })
    await load.command('template', templateOf(settings.size))
    const warm = await run(3000)
    if (warm.errors > 0) throw new Error(`while warming up: ${JSON.stringify(warm.reasons)}`)
    await load.open('slow', { port, count: settings.slow, silent: true })
    const before = rss(server.pid)
    timer = setInterval(() => {
      peak = Math.max(peak, rss(server.pid))
    }, 100)
    const healthy = await run(settings.window)
    const after = rss(server.pid)
    clearInterval(timer)
    const { closes, disconnects = {}, drops = {} } = await server.call('status')
    return {
      rssGrowthMb: (after - before) / MB,
      rssPeakGrowthMb: (Math.max(peak, after) - before) / MB,
      closed: Object.values(closes).reduce((sum, number) => sum + number, 0),
      closes,
      disconnects,
      drops,
      published: healthy.published,
      expected: healthy.published * settings.healthy,
      delivered: healthy.deliveries,
      errors: healthy.errors,
      reasons: healthy.reasons,
      serverShare: healthy.serverCpuNs / healthy.wallNs,
      clientShare: healthy.clientCpuNs / healthy.wallNs,
    }
  } finally {
    clearInterval(timer)
    await load.command('drop')
    await server.stop()
  }
}

/** Returns the close codes of all runs, such as 4610: 300. */
function codes(list, key) {
  const sum = {}
  for (const run of list) {
    for (const [code, count] of Object.entries(run[key])) sum[code] = (sum[code] ?? 0) + count
  }
  return Object.entries(sum)
    .filter(([, count]) => count > 0)
    .map(([code, count]) => `${code}: ${count}`)
    .join(', ')
}

const of = (list, key) => round(median(list.map((run) => run[key])), 2)

await guarded(async () => {
  build()
  const about = environment()
  printEnvironment(about)
  const load = new Load()
  const runs = {}
  const names = selected(CONTESTANTS, BASELINE)
  const { leftOut, failures } = await rounds(names, settings.rounds, async (name) => {
    runs[name] = [...(runs[name] ?? []), await measure(name, load)]
  })
  const { slow, healthy, size, perSecond, window } = settings
  console.log(
    `\n${slow} that stop reading, ${healthy} that read, ${perSecond} x ${size} B per second, ${window} ms`,
  )
  console.table(
    Object.fromEntries(
      Object.entries(runs).map(([name, list]) => [
        name,
        {
          'RSS + MB median': of(list, 'rssGrowthMb'),
          'peak + MB median': of(list, 'rssPeakGrowthMb'),
          'slow closed': list.map((run) => run.closed).join(' '),
          'close event': codes(list, 'closes'),
          onDisconnect: codes(list, 'disconnects'),
          drops: codes(list, 'drops'),
          'healthy got': list.map((run) => `${run.delivered}/${run.expected}`).join(' '),
          'loss, order, content': list.map((run) => run.errors).join(' '),
          'server share': of(list, 'serverShare'),
          'client share': `${of(list, 'clientShare')}${of(list, 'clientShare') > 0.9 ? ' (!)' : ''}`,
        },
      ]),
    ),
  )
  writeResults('slow-consumers', { ...about, settings, leftOut, failures, contestants: runs })
}, settings.maxSeconds)
