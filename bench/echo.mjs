import { setTimeout as sleep } from 'node:timers/promises'
import { contestantsOf, resultName } from './lib/base.mjs'
import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine, lineUp } from './lib/line-up.mjs'
import { paired, printPaired, windowOf } from './lib/paired.mjs'
import { profiled } from './lib/profile.mjs'
import { number, selected } from './lib/settings.mjs'

const [BASELINE, CONTESTANTS] = contestantsOf('ws-plain', [
  'ws-plain',
  'koaws-after',
  'koaws-inside',
  'koa-easy-ws',
])
const WORKLOADS = {
  'one in flight': { depth: 1, batches: false },
  '8 in flight, each reply followed by the next message': { depth: 8, batches: false },
  '8 in flight, the next 8 after 8 replies': { depth: 8, batches: true },
}

const settings = {
  rounds: number('ROUNDS', 8, { max: 200 }),
  warmup: number('WARMUP', 100_000),
  window: number('WINDOW', 25_000),
  connections: number('CONNECTIONS', 50, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

const perConnection = (messages) => Math.max(1, Math.round(messages / settings.connections))

async function compare(title, workload, servers, client) {
  // New connections for every window, because a server may ping connections that idle while others
  // are measured.
  const withConnections = async (server, work) => {
    await client.call('openEcho', { port: server.port, count: settings.connections })
    try {
      return await work()
    } finally {
      await client.call('closeEcho')
    }
  }
  const run = (messages) =>
    client.call('runEcho', { perConnection: perConnection(messages), ...workload })

  const leftOut = {}
  for (const [name, server] of servers) {
    try {
      const { errors, reasons } = await withConnections(server, () => run(settings.warmup))
      if (errors > 0)
        throw new Error(`${errors} errors while warming up ${JSON.stringify(reasons)}`)
    } catch (error) {
      leftOut[name] = firstLine(error)
      console.log(`left out of "${title}": ${name}: ${leftOut[name]}`)
    }
  }
  const names = [...servers.keys()].filter((name) => leftOut[name] === undefined)
  if (!names.includes(BASELINE)) throw new Error(`the baseline ${BASELINE} failed`)
  const contestants = await paired({
    baseline: BASELINE,
    names,
    rounds: settings.rounds,
    log: console.log,
    measure: (name) => {
      const server = servers.get(name)
      return withConnections(server, async () => {
        await run(settings.window / 10)
        return windowOf(
          server,
          () => run(settings.window),
          () => sleep(5),
        )
      })
    },
  })
  printPaired(`echo of 32 B, ${title}, server CPU`, 'us', BASELINE, contestants)
  for (const name of names) {
    const server = servers.get(name)
    const profileOne = () => profiled(title, name, server, 'cpu', () => run(3 * settings.window))
    await withConnections(server, profileOne)
  }
  return { contestants, leftOut }
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const { servers, leftOut } = await lineUp(selected(CONTESTANTS, BASELINE), 'echo', BASELINE)
  const client = startClient()
  const workloads = {}
  for (const [title, workload] of Object.entries(WORKLOADS)) {
    workloads[title] = await compare(title, workload, servers, client)
  }
  writeResults(resultName('echo'), { ...about, settings, baseline: BASELINE, leftOut, workloads })
}, settings.maxSeconds)
