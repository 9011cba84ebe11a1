import { setTimeout as sleep } from 'node:timers/promises'
import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine, lineUp } from './lib/line-up.mjs'
import { windowOf } from './lib/paired.mjs'
import { printWindows, Windows } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'

const BASELINE = 'koaws-unrouted'
const SUBJECTS = ['koaws-routed', 'koaws-zod']
/** The protocol of each contestant is in lib/speeches.mjs. */
const SPEECHES = {
  'koaws-unrouted': 'same',
  'koaws-json': 'same',
  'koaws-routed': 'koaws.v1',
  'koaws-zod': 'koaws.v1',
  'ws-switch': 'envelope',
  'socket.io-emit': 'socket.io',
  'socket.io-ack': 'socket.io with acknowledgement',
}

const settings = {
  rounds: number('ROUNDS', 7, { max: 100 }),
  passes: number('PASSES', 7, { max: 100 }),
  warmup: number('WARMUP', 60_000),
  window: number('WINDOW', 10_000),
  connections: number('CONNECTIONS', 50, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

const WORKLOADS = {
  [`${settings.connections} connections, one message of each in flight`]: {
    connections: settings.connections,
    depth: 1,
    behaviour: {},
  },
  '1 connection, 32 in flight': {
    connections: 1,
    depth: 32,
    // 500 messages in 100 ms count as a flood and pause a connection.
    behaviour: { flood: false },
  },
}

/** Opens new connections, warms them with a tenth of the window, and measures the window. */
async function measure(name, server, { connections, depth }, client) {
  const run = (messages) =>
    client.call('runMessages', {
      perConnection: Math.max(1, Math.round(messages / connections)),
      depth,
      batches: false,
    })
  await client.call('openMessages', {
    port: server.port,
    count: connections,
    speech: SPEECHES[name],
  })
  try {
    const warm = await run(server.isWarm ? settings.window / 10 : settings.warmup)
    server.isWarm = true
    const figures = await windowOf(
      server,
      () => run(settings.window),
      () => sleep(5),
    )
    return {
      ...figures,
      errors: warm.errors + figures.errors,
      reasons: { ...warm.reasons, ...figures.reasons },
    }
  } finally {
    await client.call('closeMessages')
  }
}

/** New servers; each contestant has one window in each pass, in an order that rotates. */
async function round(index, workload, client, windows, failures) {
  const names = selected(Object.keys(SPEECHES), BASELINE, SUBJECTS)
  const { servers, leftOut } = await lineUp(names, workload.behaviour, BASELINE)
  try {
    for (let pass = 0; pass < settings.passes; pass++) {
      const number = index * settings.passes + pass
      const shift = number % servers.size
      const order = [...servers.keys()]
      for (const name of [...order.slice(shift), ...order.slice(0, shift)]) {
        try {
          const figures = await measure(name, servers.get(name), workload, client)
          if (figures.errors > 0) throw new Error(JSON.stringify(figures.reasons))
          const { usPerOperation: us, rate: perSecond, serverShare, clientShare } = figures
          windows.add(name, { round: number, us, perSecond, serverShare, clientShare })
        } catch (error) {
          windows.discard(name)
          failures.push({ name, round: number, error: firstLine(error) })
          console.log(`  ${name}: window discarded: ${firstLine(error)}`)
        }
      }
    }
  } finally {
    await Promise.all([...servers.values()].map((server) => server.stop()))
  }
  return leftOut
}

async function compare(title, workload, client) {
  const windows = new Windows()
  const failures = []
  let leftOut = {}
  for (let i = 0; i < settings.rounds; i++) {
    leftOut = { ...leftOut, ...(await round(i, workload, client, windows, failures)) }
  }
  const contestants = windows.results(BASELINE)
  const of = {}
  for (const subject of SUBJECTS) {
    const results = windows.results(subject)
    printWindows(`echo of a message of 78 B, ${title}: server CPU`, subject, results)
    of[subject] = Object.fromEntries(
      Object.entries(results).map(([name, { ratioOfMinima, medianRatio }]) => [
        name,
        { ratioOfMinima, medianRatio },
      ]),
    )
  }
  for (const row of Object.values(contestants)) {
    delete row.ratioOfMinima
    delete row.medianRatio
  }
  return { contestants, ratios: of, leftOut, failures }
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const client = startClient()
  const workloads = {}
  for (const [title, workload] of Object.entries(WORKLOADS)) {
    workloads[title] = await compare(title, workload, client)
  }
  writeResults('messages', { ...about, settings, baseline: BASELINE, workloads })
}, settings.maxSeconds)
