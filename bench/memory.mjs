import { setTimeout as sleep } from 'node:timers/promises'
import { contestantsOf, resultName } from './lib/base.mjs'
import { guarded, startClient, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine } from './lib/line-up.mjs'
import { profiled, profiles } from './lib/profile.mjs'
import { number, selected } from './lib/settings.mjs'
import { round, summary } from './lib/stats.mjs'

const [BASELINE, CONTESTANTS] = contestantsOf('ws-plain', [
  'ws-plain',
  'ws-facts',
  'koaws-after',
  'koaws-captured',
  'koaws-inside',
  'koa-easy-ws',
  'fastify-websocket',
])
const KEYS = ['heapUsed', 'external', 'arrayBuffers', 'rss']

const settings = {
  rounds: number('ROUNDS', 3, { max: 50 }),
  warmup: number('WARMUP', 2000, { max: 200_000 }),
  connections: number('CONNECTIONS', 5000, { max: 15_000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

/** With `isProfile` it also records which functions allocated what is in use. */
async function measure(name, client, isProfile) {
  const server = await startServer(name, 'idle', ['--expose-gc'])
  try {
    const { errors, reasons } = await client.call('handshakes', {
      port: server.port,
      mode: 'accepted',
      count: settings.warmup,
      concurrency: 32,
      browser: true,
    })
    if (errors > 0) throw new Error(`${errors} errors while warming up ${JSON.stringify(reasons)}`)
    await sleep(500)
    const base = await server.call('memory')
    const open = async () => {
      await client.call('openIdle', { port: server.port, count: settings.connections })
      await sleep(1000)
    }
    if (isProfile) await profiled('idle connections', name, server, 'heap', open)
    else await open()
    const loaded = await server.call('memory')
    const { lost } = await client.call('idleState')
    if (lost > 0) throw new Error(`${lost} connections were lost before the reading`)
    return Object.fromEntries(
      KEYS.map((key) => [key, (loaded[key] - base[key]) / settings.connections]),
    )
  } finally {
    await client.call('dropIdle')
    await server.stop()
  }
}

function condense(runs) {
  return Object.fromEntries(
    KEYS.map((key) => {
      const { median, min, max } = summary(runs.map((run) => run[key]))
      return [key, { median: round(median, 0), min: round(min, 0), max: round(max, 0) }]
    }),
  )
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const names = selected(CONTESTANTS, BASELINE)
  const client = startClient()
  const runs = new Map(names.map((name) => [name, []]))
  const leftOut = {}
  let discarded = 0
  for (let i = 0; i < settings.rounds; i++) {
    for (const name of names) {
      if (leftOut[name]) continue
      try {
        runs.get(name).push(await measure(name, client))
      } catch (error) {
        if (runs.get(name).length === 0) leftOut[name] = firstLine(error)
        else discarded++
        console.log(`${leftOut[name] ? 'left out' : 'run discarded'}: ${name}: ${firstLine(error)}`)
      }
    }
  }
  for (const name of profiles ? names.filter((one) => !leftOut[one]) : []) {
    await measure(name, client, true)
  }
  if (leftOut[BASELINE]) throw new Error(`the baseline ${BASELINE} failed`)

  const contestants = {}
  const base = condense(runs.get(BASELINE)).heapUsed.min
  for (const name of names) {
    if (leftOut[name]) continue
    const figures = condense(runs.get(name))
    contestants[name] = {
      ...figures,
      ratio: round(figures.heapUsed.min / base, 3),
      runs: runs.get(name).length,
    }
  }
  console.log('\nbytes per idle connection')
  console.table(
    Object.fromEntries(
      Object.entries(contestants).map(
        ([name, { heapUsed, external, arrayBuffers, ratio, runs: number }]) => [
          name,
          {
            'heap min': heapUsed.min,
            spread: `${heapUsed.min}..${heapUsed.max}`,
            [`x ${BASELINE}`]: ratio,
            external: external.min,
            arrayBuffers: arrayBuffers.min,
            runs: number,
          },
        ],
      ),
    ),
  )
  writeResults(resultName('memory'), {
    ...about,
    settings,
    baseline: BASELINE,
    leftOut,
    discarded,
    contestants,
  })
}, settings.maxSeconds)
