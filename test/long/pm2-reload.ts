/**
 * Measures lost messages while PM2 reloads the workers of a cluster, and while workers are killed.
 *
 *     npx tsc -b && npx tsx test/long/pm2-reload.ts [seed] [--history] [--quick]
 *       [--only=name,...]
 *
 * The table goes to stdout, the progress to stderr. Exits with 1 when a check of koaws fails. See
 * README.md. Linux only.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from '../support/free-port.ts'
import { mulberry32 } from '../support/order.ts'
import { startRedis, stopRedis } from '../support/redis.ts'
import { chooser, optionOf, runProgram } from './support/program.ts'
import { endPm2, Pm2 } from './support/redis-pm2.ts'
import { EDGE, type Outcome, outcomeOf, row, wrongIn } from './support/redis-reload-account.ts'
import { ReloadClient } from './support/redis-reload-clients.ts'
import { Publisher } from './support/redis-reload-publisher.ts'
import { keepResult, withOthers } from './support/results.ts'

/** What runs by default, and with `--history`. */
const SETS = {
  'pm2-reload': {
    contestants: ['koaws/cluster', 'koaws/redis', 'redis-streams-adapter'],
    faults: ['reload'],
  },
  'pm2-history': {
    contestants: ['koaws/cluster+history', 'koaws/redis+history', 'redis-streams-adapter'],
    faults: ['reload', 'kill'],
  },
} as const
const NAME = process.argv.includes('--history') ? 'pm2-history' : 'pm2-reload'
const { contestants: CONTESTANTS, faults: FAULTS } = SETS[NAME]
/** `kill`: kill -9 of one of the workers, which PM2 starts again. */
type Fault = (typeof SETS)['pm2-history']['faults'][number]

const quick = process.argv.includes('--quick')
const only = optionOf('only')?.split(',')
const SEED = Number(process.argv[2]) || 1

const WORKERS = 4
/** Reloads, or kills. */
const TIMES = quick ? 2 : 10
const CLIENTS = quick ? 100 : 500
const ROOMS = 5
/** The number of publishing clients per room. */
const PUBLISHERS = 4
/** Messages per second in all rooms together. */
const PER_SECOND = 100
const QUIET = 6_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)

async function run(contestant: string, fault: Fault): Promise<Outcome> {
  const pm2 = new Pm2()
  const redis = await startRedis()
  const port = await freePort()
  const random = mulberry32(SEED)
  const clients: ReloadClient[] = []
  const loop = monitorEventLoopDelay({ resolution: 10 })
  try {
    const env = { CONTESTANT: contestant, PORT: String(port), REDIS_PORT: String(redis.port) }
    await pm2.start(WORKERS, env)
    for (let i = 0; i < CLIENTS; i++) {
      clients.push(ReloadClient.open(contestant, port, String(i % ROOMS), i))
      if (i % 50 === 49) await pause(100)
    }
    await until(() => clients.every(({ isIn }) => isIn), 30_000)
    await pause(2_000)
    loop.enable()
    const publisher = new Publisher(clients.slice(0, ROOMS * PUBLISHERS))
    publisher.begin(PER_SECOND)
    await pause(2_000)
    for (let i = 0; i < TIMES; i++) {
      if (fault === 'reload') await pm2.reload()
      else await pm2.kill(random)
      log(`  ${fault} ${i + 1}`)
      await until(() => clients.every(({ isIn }) => isIn), 15_000).catch(() => {})
      await pause(1_000)
    }
    await pause(2_000)
    await publisher.end()
    await pause(QUIET)
    const online = (await pm2.online()).length
    const { ends } = pm2
    for (const client of clients) client.correct(ends)
    return outcomeOf(clients, publisher, {
      contestant,
      date: new Date().toISOString(),
      fault,
      faults: TIMES,
      workersOnline: online,
      errors: pm2.errors.slice(0, 5).join('\n'),
      longestTurn: Math.round(loop.max / 1e6),
    })
  } finally {
    for (const client of clients) client.close()
    pm2.end()
    await stopRedis()
  }
}

async function until(condition: () => boolean, patience: number): Promise<void> {
  const end = Date.now() + patience
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not all clients are in their room after ${patience} ms`)
    await pause(20)
  }
}

async function main(): Promise<boolean> {
  const chosen = chooser(only, CONTESTANTS, FAULTS)
  const outcomes: Outcome[] = []
  for (const fault of chosen<Fault>(FAULTS)) {
    for (const contestant of chosen<string>(CONTESTANTS)) {
      log(`${fault}: ${contestant}`)
      outcomes.push(await run(contestant, fault))
      log(`  ${JSON.stringify(outcomes.at(-1))}`)
    }
  }
  const wrong = outcomes.flatMap((outcome) => wrongIn(outcome, WORKERS))
  console.table(outcomes.map(row))
  for (const line of wrong) console.log(line)
  if (!quick) keep(outcomes)
  return wrong.length === 0
}

/** Keeps the outcomes. Those of other contestants stay. */
function keep(outcomes: readonly Outcome[]): void {
  const all = withOthers(NAME, outcomes, (one, other) => {
    return one.contestant === other.contestant && one.fault === other.fault
  })
  const wrong = all.flatMap((outcome) => wrongIn(outcome, WORKERS))
  const settings = {
    seed: SEED,
    workers: WORKERS,
    clients: CLIENTS,
    rooms: ROOMS,
    perSecond: PER_SECOND,
    edge: EDGE,
  }
  keepResult(NAME, { ok: wrong.length === 0, wrong, ...settings, outcomes: all })
}

/** Ends the processes that must not outlive this one. */
function endAll(): void {
  endPm2()
  void stopRedis()
}

runProgram(main, endAll)
