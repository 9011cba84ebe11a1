import { setTimeout as sleep } from 'node:timers/promises'
import { contestantsOf, resultName } from './lib/base.mjs'
import { guarded, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, Load } from './lib/load.mjs'
import { rounds } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'
import { median, round } from './lib/stats.mjs'

const [BASELINE, CONTESTANTS] = contestantsOf('ws-plain', ['ws-plain', 'koaws-after'])

const settings = {
  rounds: number('ROUNDS', 3, { max: 50 }),
  connections: number('CONNECTIONS', 50, { max: 1000 }),
  window: number('WINDOW', 15_000, { max: 600_000 }),
  // How long the flood lasts before the fresh client connects.
  lead: number('LEAD', 2000, { max: 60_000 }),
  probeEvery: number('PROBE_EVERY', 20, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

/** Opens a connection within the time, or returns null. */
async function openOne(load, port, timeoutMs) {
  try {
    const { wallNs } = await load.open('probe', {
      port,
      count: 1,
      timeoutMs: Math.round(timeoutMs),
    })
    return wallNs / 1e6
  } catch {
    await load.command('drop')
    return null
  }
}

async function echoes(load, ms) {
  const echo = await load.command('probe', {
    group: 'probe',
    intervalUs: settings.probeEvery * 1000,
    ms: Math.round(ms),
  })
  if (echo.errors > 0) throw new Error(JSON.stringify(echo.reasons))
  return {
    p50Ms: echo.p50Ns / 1e6,
    p99Ms: echo.p99Ns / 1e6,
    maxMs: echo.maxNs / 1e6,
    count: echo.count,
    unanswered: echo.unanswered,
  }
}

/** A client that connects during the flood. Its echoes end with the flood. */
async function fresh(load, port) {
  await sleep(settings.lead)
  const time = settings.window - settings.lead - 1000
  const openMs = await openOne(load, port, time / 2)
  const rest = time - (openMs ?? 0)
  return { openMs, waitedMs: time / 2, ...(openMs !== null && (await echoes(load, rest))) }
}

async function measure(name, flooders, early, late) {
  const server = await startServer(name, 'echo')
  try {
    const { port, pid } = server
    if ((await openOne(early, port, 10_000)) === null) throw new Error('no connection before')
    const quiet = await echoes(early, 3000)
    await flooders.open('flood', { port, count: settings.connections })
    // Awaits all, even if one fails, because a load client takes one command at a time.
    const settled = await Promise.allSettled([
      flooders.command('flood', { group: 'flood', ms: settings.window + 5000, server: pid }),
      sleep(settings.lead).then(() => echoes(early, settings.window - settings.lead)),
      fresh(late, port),
    ])
    const failed = settled.find(({ status }) => status === 'rejected')
    if (failed) throw failed.reason
    const [flood, known, newcomer] = settled.map(({ value }) => value)
    return {
      quiet,
      known,
      newcomer,
      sentPerSecond: (flood.sent / flood.wallNs) * 1e9,
      repliesPerSecond: (flood.replies / flood.wallNs) * 1e9,
      open: flood.open,
      serverShare: flood.serverCpuNs / flood.wallNs,
      clientShare: flood.clientCpuNs / flood.wallNs,
    }
  } finally {
    await Promise.all([flooders, early, late].map((load) => load.command('drop')))
    await server.stop()
  }
}

/** Returns the median of the rounds, and the largest. */
function cell(values) {
  if (values.length === 0) return '-'
  return `${round(median(values), 1)} (${round(Math.max(...values), 1)})`
}

function print(runs) {
  const rows = { quiet: {}, known: {}, newcomer: {} }
  const load = {}
  for (const [name, list] of Object.entries(runs)) {
    for (const who of Object.keys(rows)) {
      const echoed = list.map((run) => run[who]).filter((echo) => echo.count > 0)
      const read = (key) => cell(echoed.map((echo) => echo[key]))
      rows[who][name] = {
        'p50 ms': read('p50Ms'),
        'p99 ms': read('p99Ms'),
        'max ms': read('maxMs'),
        'not answered within 5 s': echoed.map((echo) => echo.unanswered).join(' '),
        ...(who === 'newcomer' && {
          'opened in ms': list
            .map(({ newcomer: { openMs, waitedMs } }) => round(openMs, 0) ?? `not in ${waitedMs}`)
            .join(', '),
        }),
      }
    }
    const clientShare = round(median(list.map((run) => run.clientShare)), 2)
    load[name] = {
      'replies/s': round(median(list.map((run) => run.repliesPerSecond)), 0),
      'still open': list.map((run) => run.open).join(' '),
      'server share': round(median(list.map((run) => run.serverShare)), 2),
      'client share': `${clientShare}${clientShare > 0.9 ? ' (!)' : ''}`,
    }
  }
  console.log(
    `\necho each ${settings.probeEvery} ms before the flood, median of the rounds (largest)`,
  )
  console.table(rows.quiet)
  console.log(`\nthe same connection while ${settings.connections} others flood`)
  console.table(rows.known)
  console.log('\na connection that is new in the flood')
  console.table(rows.newcomer)
  console.log('\nthe flood')
  console.table(load)
}

await guarded(async () => {
  build()
  const about = environment()
  printEnvironment(about)
  const [flooders, early, late] = [new Load(), new Load(), new Load()]
  const runs = {}
  const names = selected(CONTESTANTS, BASELINE)
  const { leftOut, failures } = await rounds(names, settings.rounds, async (name) => {
    runs[name] = [...(runs[name] ?? []), await measure(name, flooders, early, late)]
  })
  print(runs)
  writeResults(resultName('flood'), { ...about, settings, leftOut, failures, contestants: runs })
}, settings.maxSeconds)
