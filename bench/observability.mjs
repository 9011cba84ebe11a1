import { setTimeout as sleep } from 'node:timers/promises'
import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { lineUp } from './lib/line-up.mjs'
import { paired, printPaired, windowOf } from './lib/paired.mjs'
import { number, selected } from './lib/settings.mjs'

const BASELINE = 'unobserved'
const NAMES = [BASELINE, 'prometheus', 'otel', 'otel-context', 'otel-traces']

const settings = {
  rounds: number('ROUNDS', 12, { max: 100 }),
  members: number('CONNECTIONS', 50, { max: 1000 }),
  talkers: number('TALKERS', 10, { max: 1000 }),
  warmup: number('WARMUP', 150_000),
  window: number('WINDOW', 150_000),
  maxSeconds: number('MAX_SECONDS', 900),
}

const { members, talkers } = settings
/** A window has so many operations: deliveries of a chat, or a seventh as many requests. */
const WORKLOADS = {
  [`chat: ${members} members, ${talkers} messages at a time`]: {
    kind: 'say',
    roundsOf: (operations) => Math.ceil(operations / members / talkers),
  },
  [`requests: ${members} members, one of each in flight`]: {
    kind: 'ask',
    roundsOf: (operations) => Math.ceil(operations / members / 7),
  },
}

async function compare({ kind, roundsOf }, servers, client) {
  const run = (operations) =>
    client.call('runChat', { kind, rounds: roundsOf(operations), talkers })
  const warm = new Set()
  const measure = async (name) => {
    const server = servers.get(name)
    await client.call('openChat', { port: server.port, count: members })
    try {
      const first = await run(warm.has(name) ? settings.window / 10 : settings.warmup)
      if (first.errors > 0) return { ...first, usPerOperation: 0 }
      warm.add(name)
      return await windowOf(
        server,
        () => run(settings.window),
        () => sleep(5),
      )
    } finally {
      await client.call('closeChat')
    }
  }
  const names = [...servers.keys()]
  return paired({ baseline: BASELINE, names, rounds: settings.rounds, measure, log: console.log })
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const client = startClient()
  const names = selected(NAMES, BASELINE)
  const { servers, leftOut } = await lineUp(names, {}, BASELINE)
  const workloads = {}
  for (const [title, workload] of Object.entries(WORKLOADS)) {
    workloads[title] = await compare(workload, servers, client)
    printPaired(title, 'us', BASELINE, workloads[title])
  }
  writeResults('observability', { ...about, settings, baseline: BASELINE, workloads, leftOut })
}, settings.maxSeconds)
