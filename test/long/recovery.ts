/*
 * Random schedules of recovery over real hubs, with clients that go by the wire protocol:
 *
 *     npx tsx test/long/recovery.ts [schedules=100000] [seed] [--only=memory,remote,redis,cluster]
 *
 * `remote` is an engine in this process that takes its time, is cut off, and forgets. Ends with 1 when a message is
 * lost without word, comes twice, or out of order.
 */
import type { RecoveryEngine, RecoveryReport } from '../support/recovery-client.ts'
import {
  clusterEngine,
  memoryEngine,
  redisEngine,
  remoteEngine,
} from '../support/recovery-engines.ts'
import { randomOf, runRecoveryModels } from '../support/recovery-model.ts'
import { startRedis, stopRedis, type TestRedis } from '../support/redis.ts'
import { runFuzz } from './support/fuzz.ts'
import { optionOf } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 100_000
/** Schedules that share their hubs, and the damage to these. */
const SHARED = 40
const SIZE = { steps: 16, clients: 3, kept: 8, replaces: true }
const NAMES = ['memory', 'remote', 'redis', 'cluster'] as const

type Name = (typeof NAMES)[number]

/** Sets of hubs that run at the same time: those with an engine outside spend most of their time waiting. */
const WORLDS = { memory: 1, remote: 4, redis: 12, cluster: 8 }
const names = (optionOf('only')?.split(',') ?? NAMES) as Name[]

async function run(schedules: number, seed: number): Promise<boolean> {
  const alive = setInterval(() => {}, 60_000) // adapters keep no process alive
  console.log(`seed ${seed}`)
  let wrong = 0
  for (const name of names) {
    const redis = name === 'redis' ? await startRedis() : null
    const figures = await runAll(name, schedules, seed, redis)
    if (redis) await stopRedis()
    wrong += figures.wrong
    console.log(`${name}: ${JSON.stringify(figures)}`)
    if (figures.wrong === 0 && schedules >= FULL)
      keepResult(`recovery-${name}`, { seed, ...figures })
  }
  clearInterval(alive)
  return wrong === 0
}

async function runAll(name: Name, schedules: number, seed: number, redis: TestRedis | null) {
  const began = performance.now()
  const sum = { schedules: 0, published: 0, delivered: 0, recovered: 0, replaced: 0, wrong: 0 }
  const refused: Record<string, number> = {}
  const add = (report: RecoveryReport, first: number): void => {
    for (const key of ['published', 'delivered', 'recovered', 'replaced'] as const) {
      sum[key] += report[key]
    }
    for (const [why, count] of Object.entries(report.refused)) {
      refused[why] = (refused[why] ?? 0) + count
    }
    sum.wrong += report.wrong.length
    for (const fault of report.wrong) console.log(`${name}, seeds from ${first}: ${fault}`)
  }
  let next = 0
  const work = async (): Promise<void> => {
    while (next < schedules) {
      const first = seed + next
      const many = Math.min(SHARED, schedules - next)
      next += many
      const engine = engineOf(name, first, redis)
      const seeds = Array.from({ length: many }, (_, i) => first + i)
      add(await runRecoveryModels(seeds, engine, SIZE), first)
      engine.close?.()
      sum.schedules += many
      if (sum.schedules % 1_000 === 0) {
        process.stderr.write(`${name}: ${JSON.stringify({ ...sum, refused })}\n`)
      }
    }
  }
  await Promise.all(Array.from({ length: WORLDS[name] }, work))
  return { ...sum, refused, seconds: Math.round((performance.now() - began) / 100) / 10 }
}

function engineOf(name: Name, seed: number, redis: TestRedis | null): RecoveryEngine {
  const random = randomOf(seed + 7)
  const forgets = random() < 0.5
  if (redis) return redisEngine(redis, forgets)
  if (name === 'memory') return memoryEngine()
  if (name === 'cluster') return clusterEngine()
  return remoteEngine(() => (random() < 0.06 ? 5 + random() * 25 : random() * 3), forgets)
}

Error.stackTraceLimit = 0 // a cut causes hundreds of errors that are expected
runFuzz(FULL, run)
