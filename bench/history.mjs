import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { anonymous } from './history/anonymous.mjs'
import { publishes } from './history/publishes.mjs'
import { recoveries, steady } from './history/recoveries.mjs'
import { unrecorded } from './history/unrecorded.mjs'
import { guarded } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { redisVersion } from './lib/redis-engine.mjs'
import { number } from './lib/settings.mjs'

const quick = process.argv.includes('--quick')
const { BEFORE } = process.env

const rounds = number('ROUNDS', quick ? 1 : 3, { max: 100 })
const size = number('SIZE', 100, { min: 60, max: 8000 })
const settings = {
  maxSeconds: number('MAX_SECONDS', 1500),
  recoveries: {
    size,
    rounds,
    missed: number('MISSED', 100, { max: 300 }),
    rooms: number('ROOMS', 20, { max: 1000 }),
    clients: number('CLIENTS', quick ? 500 : 600, { max: 5000 }),
    inFlight: number('IN_FLIGHT', 32, { max: 1000 }),
    perSecond: number('PER_SECOND', 1000),
    warmups: number('WARMUPS', quick ? 2 : 5),
  },
  steady: {
    size,
    sources: (process.env.SOURCES ?? 'memory;redis, ring').split(';'),
    missed: 100,
    rooms: 20,
    clients: number('STEADY_CLIENTS', 400, { max: 5000 }),
    inFlight: 32,
    warmups: number('STEADY_WARMUPS', quick ? 2 : 8),
    windows: number('STEADY_WINDOWS', quick ? 1 : 4),
  },
  publishes: {
    size,
    rounds,
    firstWarmup: number('FIRST_WARMUP', quick ? 300 : 2500),
    warmup: number('WARMUP', quick ? 300 : 800),
    window: number('WINDOW', quick ? 300 : 600),
    pairs: number('PAIRS', 2),
  },
  unrecorded: {
    size,
    members: 100,
    warmup: number('WARMUP', quick ? 300 : 800),
    window: number('UNRECORDED_WINDOW', 300),
    rounds: number('UNRECORDED_ROUNDS', quick ? 2 : 10),
  },
  anonymous: {
    size,
    members: 100,
    perSecond: number('PUBLISHES', 20),
    missed: 100,
    window: number('STORM', quick ? 3_000 : 20_000),
    rounds: number('STORM_ROUNDS', quick ? 1 : 2),
    inFlight: 32,
    most: number('MOST_OPEN', 4000, { max: 20_000 }),
  },
}

const PARTS = {
  recoveries: () => recoveries(settings.recoveries, rounds),
  steady: () => steady(settings.steady),
  publishes: () => publishes(settings.publishes, rounds),
  unrecorded: () =>
    unrecorded(
      { ...settings.unrecorded, before: BEFORE && resolve(BEFORE) },
      settings.unrecorded.rounds,
    ),
  anonymous: () => anonymous(settings.anonymous, settings.anonymous.rounds),
}

/** The parts that are not run keep what they have in the file; each says when it was run, and with which settings. */
function partsOfFile() {
  const file = new URL('results/history.json', import.meta.url)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')).parts ?? {}) : {}
}

async function main() {
  const about = environment()
  about.versions['redis-server'] = await redisVersion()
  printEnvironment(about)
  const only = process.env.ONLY?.split(',') ?? Object.keys(PARTS)
  const unknown = only.filter((name) => !(name in PARTS))
  if (unknown.length > 0) throw new Error(`ONLY names unknown parts: ${unknown.join(', ')}`)
  const parts = partsOfFile()
  for (const name of only) {
    const { date, loadBefore } = environment()
    const part = await PARTS[name]()
    parts[name] = { date, loadBefore, settings: settings[name], ...part }
    console.log(`${name}: ${Math.round((Date.now() - Date.parse(date)) / 1000)} s`)
    if (!quick) writeResults('history', { ...about, parts }) // at once: a later part may fail
  }
}

await guarded(main, settings.maxSeconds)
