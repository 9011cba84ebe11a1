/*
 * Snapshots by HTTP, and connections with their positions, among publishes:
 *
 *     npx tsx test/long/snapshot.ts [interleavings=1000000] [seed] [--only=memory,remote,redis,cluster]
 *
 * One interleaving is one room of one client: its snapshot, its connection, and publishes at random moments between.
 * Ends with 1 when a message after a snapshot is missing, comes twice, or out of order.
 */
import type { Adapter } from '../../lib/index.ts'
import type { RecoveryEngine } from '../support/recovery-client.ts'
import {
  clusterEngine,
  memoryEngine,
  redisEngine,
  remoteEngine,
} from '../support/recovery-engines.ts'
import { randomOf } from '../support/recovery-model.ts'
import { startRedis, stopRedis, type TestRedis } from '../support/redis.ts'
import { runSnapshots, type SnapshotReport } from '../support/snapshot-model.ts'
import { runFuzz } from './support/fuzz.ts'
import { optionOf } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 1_000_000
/** Clients that share their hubs, and the rooms of each. */
const SIZE = { clients: 40, rooms: 25 }
/** The share of the interleavings of each engine. */
const SHARES = { memory: 0.4, remote: 0.4, redis: 0.1, cluster: 0.1 }
/** Sets of hubs that run at the same time. */
const AT_ONCE = 2

type Name = keyof typeof SHARES

const only = optionOf('only')
const names = (only?.split(',') ?? Object.keys(SHARES)) as Name[]

async function run(interleavings: number, seed: number): Promise<boolean> {
  const alive = setInterval(() => {}, 60_000) // adapters keep no process alive
  console.log(`seed ${seed}`)
  const redis = names.includes('redis') ? await startRedis() : null
  const runs: Record<string, object> = {}
  let [all, wrong] = [0, 0]
  for (const name of names) {
    const figures = await runAll(name, Math.ceil(interleavings * SHARES[name]), seed, redis)
    console.log(`${name}: ${JSON.stringify(figures)}`)
    runs[name] = figures
    all += figures.interleavings
    wrong += figures.wrong
  }
  if (redis) await stopRedis()
  clearInterval(alive)
  if (wrong === 0 && all >= FULL) keepResult('snapshot', { seed, interleavings: all, wrong, runs })
  return wrong === 0
}

async function runAll(name: Name, interleavings: number, seed: number, redis: TestRedis | null) {
  const began = performance.now()
  const sum = { interleavings: 0, published: 0, loaded: 0, missed: 0, delivered: 0, wrong: 0 }
  let next = seed
  const add = ({ wrong, ...report }: SnapshotReport, from: number): void => {
    for (const key of Object.keys(report) as (keyof typeof report)[]) sum[key] += report[key]
    sum.wrong += wrong.length
    for (const fault of wrong) console.log(`${name}, seed ${from}: ${fault}`)
    const done = sum.interleavings
    if (done % 50_000 === 0) process.stderr.write(`${name}: ${done}, ${sum.wrong} wrong\n`)
  }
  const work = async (): Promise<void> => {
    while (sum.interleavings < interleavings) {
      const from = next++
      const random = randomOf(from)
      const engine = engineOf(name, random, redis)
      const adapters: (Adapter | undefined)[] = []
      for (let i = 1 + Math.floor(random() * 3); i > 0; i--) adapters.push(await engine.adapter(i))
      add(await runSnapshots(adapters, random, SIZE), from)
      engine.close?.()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return { ...sum, seconds: Math.round((performance.now() - began) / 100) / 10 }
}

function engineOf(name: Name, random: () => number, redis: TestRedis | null): RecoveryEngine {
  if (name === 'redis' && redis) return redisEngine(redis, false)
  if (name === 'cluster') return clusterEngine()
  if (name === 'memory') return memoryEngine()
  return remoteEngine(() => (random() < 0.05 ? random() * 3 : 0), false)
}

Error.stackTraceLimit = 0 // aborted connections cause errors that are expected
runFuzz(FULL, run)
