import { setTimeout as sleep } from 'node:timers/promises'
import { contestantsOf, resultName } from './lib/base.mjs'
import { guarded, startClient } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine, lineUp } from './lib/line-up.mjs'
import { paired, printPaired, windowOf } from './lib/paired.mjs'
import { profiled } from './lib/profile.mjs'
import { number, selected } from './lib/settings.mjs'

const [BASELINE, CONTESTANTS] = contestantsOf('ws-chain', [
  'ws-chain',
  'koaws-after',
  'koaws-inside',
  'koa-easy-ws',
  'fastify-websocket',
  'crossws',
])

const settings = {
  rounds: number('ROUNDS', 8, { max: 200 }),
  warmup: number('WARMUP', 12_000, { max: 200_000 }),
  window: number('WINDOW', 1500, { max: 100_000 }),
  concurrency: number('CONCURRENCY', 32, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

async function compare(mode, servers, client) {
  const load = (server, count) =>
    client.call('handshakes', {
      port: server.port,
      mode,
      count,
      concurrency: settings.concurrency,
    })
  const leftOut = {}
  for (const [name, server] of servers) {
    try {
      // One handshake alone first, so that a contestant without it fails at once.
      for (const count of [1, settings.warmup]) {
        const { errors, reasons } = await load(server, count)
        if (errors > 0) throw new Error(`${errors} errors warming up ${JSON.stringify(reasons)}`)
      }
    } catch (error) {
      leftOut[name] = firstLine(error)
      console.log(`left out of ${mode}: ${name}: ${leftOut[name]}`)
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
      return windowOf(
        server,
        () => load(server, settings.window),
        () => sleep(30),
      )
    },
  })
  printPaired(`${mode} handshakes, server CPU`, 'us', BASELINE, contestants)
  for (const name of names) {
    await profiled(mode, name, servers.get(name), 'cpu', () =>
      load(servers.get(name), 3 * settings.window),
    )
  }
  return { contestants, leftOut }
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const { servers, leftOut } = await lineUp(selected(CONTESTANTS, BASELINE), 'none', BASELINE)
  const client = startClient()
  const modes = {}
  for (const mode of ['accepted', 'rejected']) modes[mode] = await compare(mode, servers, client)
  writeResults(resultName('handshake'), { ...about, settings, baseline: BASELINE, leftOut, modes })
}, settings.maxSeconds)
