import { setTimeout as sleep } from 'node:timers/promises'
import { draw, redisGrowth } from './lib/charts.mjs'
import { Child, guarded } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { redisContestants } from './lib/redis-contestants.mjs'
import { cpuOf, redisVersion, startEngine } from './lib/redis-engine.mjs'
import { goalsOf, printScenario, redisVersions, scenarioResults } from './lib/redis-results.mjs'
import { rounds } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'

const SUBJECT = 'koaws'
const BASELINE = 'redis-adapter'
const quick = process.argv.includes('--quick')
const growth = process.argv.includes('--growth')

const settings = {
  rounds: number('ROUNDS', quick ? 1 : growth ? 3 : 5, { max: 100 }),
  warmup: number('WARMUP', quick ? 500 : 1500),
  window: number('WINDOW', quick ? 1000 : 2500),
  lowRate: number('LOW_RATE', 40, { max: 1000 }),
  lowRateWindow: number('LOW_RATE_WINDOW', quick ? 3000 : 8000),
  members: number('MEMBERS', 250, { max: 5000 }),
  size: number('SIZE', 100, { min: 60, max: 8000 }),
  maxSeconds: number('MAX_SECONDS', 3000),
}

const { members } = settings
const THROUGHPUT = { kind: 'window', window: 16 }
const BURST = { kind: 'window', window: 10, burst: 10, turns: true }
const LOW_RATE = { kind: 'rate', perSecond: settings.lowRate }
const BUS_ONLY = { kind: 'window', window: 64 }
const [t, b, l] = ['throughput, window 16', 'burst of 10', `${settings.lowRate} publishes/s`]

/**
 * One set of servers per entry: the numbers of instances and members, and the workloads in order.
 */
const SCENARIOS = {
  [`2 x ${members}`]: {
    instances: 2,
    each: members,
    modes: { [t]: THROUGHPUT, [b]: BURST, [l]: LOW_RATE },
  },
  [`4 x ${members}`]: {
    instances: 4,
    each: members,
    modes: { [t]: THROUGHPUT, [b]: BURST, [l]: LOW_RATE },
  },
  '2 x 2': { instances: 2, each: 2, modes: { 'bus only, window 64': BUS_ONLY } },
}

/**
 * Messages in flight per instance, so that each instance has as much to merge with any number of
 * instances.
 */
const GROWTH = Object.fromEntries(
  [1, 2, 4, 8].flatMap((instances) => [
    [
      `${instances} x ${members}`,
      {
        instances,
        each: members,
        modes: { 'throughput, window 8 each': { kind: 'window', window: 8 * instances } },
      },
    ],
    [
      `${instances} x 2`,
      {
        instances,
        each: 2,
        modes: { 'bus only, window 32 each': { kind: 'window', window: 32 * instances } },
      },
    ],
  ]),
)

/** CPU of all instances, and of Redis, in microseconds. */
async function cpu(instances, engine) {
  const own = await Promise.all(instances.map((instance) => instance.call('cpu')))
  return { servers: own.reduce((sum, one) => sum + one, 0), redis: cpuOf(engine.pid) }
}

function run(client, { kind, ...mode }, ms) {
  return client.call(kind, { ...mode, ms }, ms + 60_000)
}

async function measure(client, instances, engine, mode) {
  const isRate = mode.kind === 'rate'
  const warm = await run(client, mode, isRate ? 1000 : settings.warmup)
  const before = await cpu(instances, engine)
  const figures = await run(client, mode, isRate ? settings.lowRateWindow : settings.window)
  const after = await cpu(instances, engine)
  const errors = warm.errors + figures.errors
  if (errors > 0) throw new Error(JSON.stringify({ ...warm.reasons, ...figures.reasons }))
  const servers = after.servers - before.servers
  const redis = after.redis - before.redis
  const { deliveries, published, wallUs, clientUs, p50, p99, max } = figures
  return {
    usPerDelivery: (servers + redis) / deliveries,
    usPerPublish: (servers + redis) / published,
    redisUsPerPublish: redis / published,
    perSecond: (deliveries / wallUs) * 1e6,
    published,
    deliveries,
    serverShare: (servers + redis) / wallUs,
    clientShare: clientUs / wallUs,
    ...(isRate && { p50, p99, max }),
  }
}

/** New processes for each round: Redis, the instances, the members. */
async function runScenario(name, title, { instances: count, each, modes }, round, windows) {
  const engine = await startEngine()
  const client = new Child('client', './redis-members.mjs', 1)
  const instances = Array.from(
    { length: count },
    (_, index) => new Child(`${name} ${index}`, './redis-instance.mjs', 0),
  )
  try {
    const addresses = await Promise.all(
      instances.map((instance, index) =>
        instance.call('start', { name, index, redis: engine.port }, 60_000),
      ),
    )
    const { kind } = redisContestants[name]
    await client.call('open', { instances: addresses, each, kind, size: settings.size })
    const broken = []
    for (const [what, mode] of Object.entries(modes)) {
      try {
        const figures = await measure(client, instances, engine, mode)
        windows.push({ scenario: title, mode: what, name, round, ...figures })
      } catch (error) {
        broken.push(`${what}: ${error.message.split('\n')[0]}`)
        console.log(`  ${title}, ${what}: ${name}: window discarded: ${broken.at(-1)}`)
      }
      await sleep(50)
    }
    const status = await Promise.all(instances.map((instance) => instance.call('status')))
    const lost = status.reduce((sum, { backplane }) => sum + (backplane?.lost ?? 0), 0)
    if (lost > 0) console.log(`  ${title}: ${name} says that it has lost ${lost}`)
    if (broken.length === Object.keys(modes).length) throw new Error(broken[0])
  } finally {
    await Promise.all([client, ...instances, engine].map((one) => one.stop()))
  }
}

async function main() {
  const about = environment()
  Object.assign(about.versions, redisVersions(), { 'redis-server': await redisVersion() })
  printEnvironment(about)
  const names = selected(Object.keys(redisContestants), BASELINE, [SUBJECT])
  const scenarios = growth ? GROWTH : SCENARIOS
  const windows = []
  const leftOut = {}
  const failures = []
  for (const [title, scenario] of Object.entries(scenarios)) {
    const done = await rounds(names, settings.rounds, (name, round) =>
      runScenario(name, title, scenario, round, windows),
    )
    if (Object.keys(done.leftOut).length > 0) leftOut[title] = done.leftOut
    failures.push(...done.failures.map((failure) => ({ scenario: title, ...failure })))
    for (const mode of Object.keys(scenario.modes)) {
      const rows = windows.filter((one) => one.scenario === title && one.mode === mode)
      printScenario(title, mode, rows, SUBJECT, BASELINE)
    }
  }
  const results = scenarioResults(windows, SUBJECT, BASELINE)
  const goals = growth ? undefined : goalsOf(results)
  if (goals) {
    console.log('\nGoals, koaws by redis-adapter (median of rounds)')
    console.table(goals)
  }
  const name = growth ? 'redis-growth' : 'redis'
  const whole = { ...about, settings, subject: SUBJECT, baseline: BASELINE, leftOut, failures }
  if (quick) return
  writeResults(name, { ...whole, ...(goals && { goals }), results })
  if (growth) draw('redis-growth', redisGrowth)
}

if (process.argv.includes('--chart')) draw('redis-growth', redisGrowth)
else await guarded(main, settings.maxSeconds)
