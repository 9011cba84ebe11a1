import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { lineUp } from './lib/line-up.mjs'
import { pairedLoad, printPaired } from './lib/paired.mjs'
import { number, selected } from './lib/settings.mjs'
import { round } from './lib/stats.mjs'

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
function compare(inTurn, servers, client, writes) {
  return pairedLoad({
    ...settings,
    ...{ baseline: BASELINE, servers },
    open: ({ port }) => client.call('openStreams', { port, count: settings.connections }),
    run: (name, operations) =>
      client.call('runStreams', {
        items: Math.ceil(operations / settings.connections),
        inTurn,
        kind: KINDS[name],
      }),
    close: () => client.call('closeStreams'),
    around: async (name, work) => {
      const written = async () => (await servers.get(name).call('status')).writes
      const before = await written()
      const figures = await work()
      writes[name] = round(((await written()) - before) / settings.window, 3)
      return figures
    },
  })
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
