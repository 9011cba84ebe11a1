import { setTimeout as sleep } from 'node:timers/promises'
import { guarded, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, Load } from './lib/load.mjs'
import { rounds } from './lib/rounds.mjs'
import { descriptors, number, selected } from './lib/settings.mjs'
import { median, round } from './lib/stats.mjs'

const BASELINE = 'koaws-none'
const FORMS = {
  [BASELINE]: { server: 'koaws', beats: false },
  koaws: { server: 'koaws', beats: true },
  'ws-none': { server: 'ws-send', beats: false },
  'ws-burst': { server: 'ws-send', beats: true },
  bun: { server: 'bun', beats: true },
}
// File descriptors that both processes need beside the connections.
const SPARE = 400

const settings = {
  rounds: number('ROUNDS', 3, { max: 50 }),
  connections: number('CONNECTIONS', Math.max(1, Math.min(19_500, descriptors() - SPARE))),
  interval: number('INTERVAL', 10_000, { max: 600_000 }),
  window: number('WINDOW', 21_000, { max: 600_000 }),
  settle: number('SETTLE', 3000),
  probeEvery: number('PROBE_EVERY', 5, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 3600),
}

async function measure({ server: serverName, beats }, idle, probe) {
  const server = await startServer(serverName, { heartbeat: beats ? settings.interval : 0 })
  const read = () => idle.command('read', { server: server.pid })
  try {
    const { port } = server
    const { connections } = settings
    await idle.open('members', { port, count: connections, sources: 8, timeoutMs: 120_000 })
    await probe.open('probe', { port, count: 1 })
    await sleep(settings.settle)
    await server.call('startDelay')
    const before = await read()
    const echo = await probe.command('probe', {
      group: 'probe',
      intervalUs: settings.probeEvery * 1000,
      ms: settings.window,
    })
    const after = await read()
    const { maxMs } = await server.call('stopDelay')
    const lost = after.closed - before.closed
    if (lost > 0 || echo.errors > 0 || echo.unanswered > 0) {
      const reasons = JSON.stringify({ ...after.reasons, ...echo.reasons })
      throw new Error(`${lost} connections lost, ${echo.unanswered} unanswered ${reasons}`)
    }
    const wallNs = after.nowNs - before.nowNs
    return {
      delayMaxMs: maxMs,
      echoMaxMs: echo.maxNs / 1e6,
      echoP99Ms: echo.p99Ns / 1e6,
      echoP50Ms: echo.p50Ns / 1e6,
      cpuSeconds: (after.serverCpuNs - before.serverCpuNs) / 1e9,
      pings: after.pings - before.pings,
      wallSeconds: wallNs / 1e9,
      serverShare: (after.serverCpuNs - before.serverCpuNs) / wallNs,
      clientShare: (after.clientCpuNs - before.clientCpuNs) / wallNs,
    }
  } finally {
    await Promise.all([idle.command('drop'), probe.command('drop')])
    await server.stop()
  }
}

function condense(windows) {
  return Object.fromEntries(
    Object.keys(windows[0]).map((key) => {
      const values = windows.map((window) => window[key])
      return [
        key,
        {
          min: round(Math.min(...values), 3),
          median: round(median(values), 3),
          max: round(Math.max(...values), 3),
        },
      ]
    }),
  )
}

function print(results) {
  console.log(
    `\n${settings.connections} idle connections, ${settings.window} ms: median (min..max) of the rounds`,
  )
  const cell = ({ min, median: middle, max }) =>
    `${round(middle, 1)} (${round(min, 1)}..${round(max, 1)})`
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, row]) => [
        name,
        {
          'loop delay max ms': cell(row.delayMaxMs),
          'echo max ms': cell(row.echoMaxMs),
          'echo p99 ms': cell(row.echoP99Ms),
          'CPU s': cell(row.cpuSeconds),
          'pings per connection': round(row.pings.median / settings.connections, 2),
          [`delay x ${BASELINE}`]: row.delayRatio ?? '-',
          'server share': row.serverShare.median,
          'client share': `${row.clientShare.median}${row.clientShare.median > 0.9 ? ' (!)' : ''}`,
          rounds: row.windows.length,
        },
      ]),
    ),
  )
}

await guarded(async () => {
  build()
  const about = environment()
  printEnvironment(about)
  const idle = new Load()
  // A separate process, so that answering a burst of pings does not delay the echoes.
  const probe = new Load()
  const windows = new Map()
  const names = selected(Object.keys(FORMS), BASELINE)
  const { leftOut, failures } = await rounds(names, settings.rounds, async (name) => {
    const figures = await measure(FORMS[name], idle, probe)
    if (!windows.has(name)) windows.set(name, [])
    windows.get(name).push(figures)
  })
  const results = {}
  const base = windows.has(BASELINE) ? condense(windows.get(BASELINE)) : null
  for (const [name, list] of windows) {
    const row = condense(list)
    results[name] = {
      ...row,
      ...(base && {
        delayRatio: round(row.delayMaxMs.median / base.delayMaxMs.median, 2),
        echoRatio: round(row.echoMaxMs.median / base.echoMaxMs.median, 2),
      }),
      windows: list,
    }
  }
  print(results)
  writeResults('heartbeat', {
    ...about,
    settings,
    baseline: BASELINE,
    leftOut,
    failures,
    contestants: results,
  })
}, settings.maxSeconds)
