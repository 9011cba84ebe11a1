import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { lineUp } from './lib/line-up.mjs'
import { pairedLoad, printPaired } from './lib/paired.mjs'
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

function compare({ kind, roundsOf }, servers, client) {
  return pairedLoad({
    ...settings,
    ...{ baseline: BASELINE, servers },
    open: ({ port }) => client.call('openChat', { port, count: members }),
    run: (_, operations) => client.call('runChat', { kind, rounds: roundsOf(operations), talkers }),
    close: () => client.call('closeChat'),
  })
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
