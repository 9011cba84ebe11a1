import { setTimeout as sleep } from 'node:timers/promises'
import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { lineUp } from './lib/line-up.mjs'
import { paired, printPaired, windowOf } from './lib/paired.mjs'
import { number, selected } from './lib/settings.mjs'

const BASELINE = 'koaws-push'
const KINDS = {
  'koaws-push': 'push',
  'koaws-stream': 'stream',
  'koaws-stream-resume': 'stream resume',
}

const settings = {
  rounds: number('ROUNDS', 12, { max: 100 }),
  connections: number('CONNECTIONS', 50, { max: 1000 }),
  warmup: number('WARMUP', 200_000),
  window: number('WINDOW', 200_000),
  maxSeconds: number('MAX_SECONDS', 900),
}

/** How many items a handler makes in one turn. */
const WORKLOADS = { '1 item in a turn': 1, '10 items in a turn': 10 }

/** Measures the items, and counts the writes to sockets. */
async function compare(inTurn, servers, client, writes) {
  const warm = new Set()
  const measure = async (name) => {
    const server = servers.get(name)
    const run = (operations) =>
      client.call('runStreams', {
        items: Math.ceil(operations / settings.connections),
        inTurn,
        kind: KINDS[name],
      })
    await client.call('openStreams', { port: server.port, count: settings.connections })
    try {
      const first = await run(warm.has(name) ? settings.window / 10 : settings.warmup)
      if (first.errors > 0) return { ...first, usPerOperation: 0 }
      warm.add(name)
      const before = (await server.call('status')).writes
      const figures = await windowOf(
        server,
        () => run(settings.window),
        () => sleep(5),
      )
      const written = (await server.call('status')).writes - before
      writes[name] = Math.round((written / settings.window) * 1_000) / 1_000
      return figures
    } finally {
      await client.call('closeStreams')
    }
  }
  const names = [...servers.keys()]
  return paired({ baseline: BASELINE, names, rounds: settings.rounds, measure, log: console.log })
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const client = startClient()
  const names = selected(Object.keys(KINDS), BASELINE)
  const { servers, leftOut } = await lineUp(names, {}, BASELINE)
  const workloads = {}
  for (const [title, inTurn] of Object.entries(WORKLOADS)) {
    const writes = {}
    const contestants = await compare(inTurn, servers, client, writes)
    printPaired(`items of 20 B, ${title}: server CPU`, 'us', BASELINE, contestants)
    console.log(`writes for each item: ${JSON.stringify(writes)}`)
    workloads[title] = { contestants, 'writes for each item': writes }
  }
  writeResults('streams', { ...about, settings, baseline: BASELINE, workloads, leftOut })
}, settings.maxSeconds)
