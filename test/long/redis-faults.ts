/**
 * What becomes of messages between instances while Redis, the network or an instance fails.
 *
 *     npx tsx test/long/redis-faults.ts [--quick] [--only=name,...]
 *
 * The table goes to stdout, the progress to stderr. Ends with 1 when something is wrong with koaws. See
 * README.md beside it. Linux only; a partition needs root, `ip` and `iptables`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  type RedisProxy,
  startProxy,
  startRedis,
  stopRedis,
  type TestRedis,
} from '../support/redis.ts'
import { type Account, account } from './support/redis-account.ts'
import { Receiver } from './support/redis-clients.ts'
import { CONTESTANTS, type Contestant } from './support/redis-contestants.ts'
import { killNodes, RedisNode } from './support/redis-nodes.ts'
import { endNamespaces, Namespace } from './support/redis-partition.ts'
import { keepResult } from './support/results.ts'

const quick = process.argv.includes('--quick')
const only = process.argv
  .find((word) => word.startsWith('--only='))
  ?.slice(7)
  .split(',')

/** Messages per second of the first two instances. */
const RATES = [200, 50]
/** Clients of each instance. */
const EACH = quick ? 3 : 5
const BEFORE = quick ? 1_000 : 2_000
/** So long is published after the fault at least, and at most when nothing comes across. */
const AFTER = 3_000
const LONGEST = quick ? 30_000 : 90_000
/** So long nothing may come until it counts as lost. Instances tell each other of gaps every 2 s. */
const QUIET = 6_000
/** What koaws may take until the first message is across again, in milliseconds. */
const MOST_HEALING = 5_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)
const seconds = (many: number): number => (quick ? Math.min(many, 1 + many / 10) : many) * 1_000

/** What a fault may break. */
interface Site {
  readonly redis: TestRedis
  readonly proxy: RedisProxy
  readonly namespace: Namespace | null
  readonly nodes: RedisNode[]
  /** Start an instance anew on its old port. */
  restart(index: number): Promise<void>
}

interface Fault {
  readonly instances: number
  readonly through?: 'proxy' | 'namespace'
  /** Resolves when all is as before. */
  run(site: Site): Promise<void>
}

function killed(down: number): Fault {
  return {
    instances: 2,
    async run({ redis }) {
      await redis.kill()
      await pause(seconds(down))
      await redis.start()
    },
  }
}

function partition(lasts: number): Fault {
  return {
    instances: 2,
    through: 'namespace',
    async run({ redis, namespace }) {
      namespace?.cut(redis.port)
      await pause(seconds(lasts))
      namespace?.heal(redis.port)
    },
  }
}

const FAULTS: Record<string, Fault> = {
  none: { instances: 2, run: () => pause(1_000) },
  'kill-3s': killed(3),
  'kill-30s': killed(30),
  'stop-3s': {
    instances: 2,
    async run({ redis }) {
      redis.stop()
      await pause(seconds(3))
      redis.go()
    },
  },
  blips: {
    instances: 2,
    through: 'proxy',
    async run({ proxy }) {
      for (let i = 0; i < (quick ? 10 : 100); i++) {
        if (i > 0) await pause(450)
        proxy.cut()
        await pause(50)
        proxy.heal()
      }
    },
  },
  'partition-10s': partition(10),
  'partition-60s': partition(60),
  crash: {
    instances: 4,
    async run({ nodes, restart }) {
      await nodes[2]?.kill()
      await pause(1_000)
      await restart(2)
    },
  },
}

interface Outcome extends Account {
  readonly contestant: Contestant
  readonly fault: string
  /** Instances that ended, or did not answer. */
  readonly crashes: number
  readonly hangs: number
  /** The first errors that nobody caught, and what else is wrong, in one text. */
  readonly problems: string
}

async function run(contestant: Contestant, name: string, fault: Fault): Promise<Outcome> {
  const namespace = fault.through === 'namespace' ? new Namespace() : null
  const lines = namespace ? [`bind 127.0.0.1 ${namespace.here}`, 'protected-mode no'] : []
  const redis = await startRedis(lines)
  const proxy = await startProxy(redis.port)
  const nodes: RedisNode[] = []
  const receivers: Receiver[] = []
  const start = (index: number, port = 0): Promise<RedisNode> => {
    const isCut = namespace !== null && index === 1
    const address = {
      host: isCut ? namespace.here : '127.0.0.1',
      port: fault.through === 'proxy' ? proxy.port : redis.port,
    }
    const host = isCut ? namespace.there : '127.0.0.1'
    return RedisNode.start({ contestant, redis: address, host, port }, isCut ? namespace.words : [])
  }
  try {
    for (let i = 0; i < fault.instances; i++) nodes.push(await start(i))
    for (const [i, { host, port }] of nodes.entries()) {
      for (let j = 0; j < EACH; j++) {
        receivers.push(Receiver.open(contestant, i, `ws://${host}:${port}/`))
      }
    }
    await Promise.all(receivers.map(({ joined }) => joined))
    await pause(500) // the instances hear of each other
    const publishers = nodes.slice(0, RATES.length)
    await Promise.all(publishers.map((node, p) => node.publish(p, RATES[p] as number)))
    await pause(BEFORE)
    const from = Date.now()
    const restart = async (index: number): Promise<void> => {
      nodes[index] = await start(index, nodes[index]?.port)
    }
    await fault.run({ redis, proxy, namespace, nodes, restart })
    const back = Date.now()
    await untilHealed(receivers, publishers.length, back)
    await Promise.all(publishers.map((node) => node.stopPublishing().catch(() => {})))
    await untilQuiet(receivers)
    return await outcomeOf(contestant, name, { nodes, receivers, from, back })
  } finally {
    for (const receiver of receivers) receiver.close()
    await Promise.all(nodes.map((node) => node.kill()))
    await stopRedis()
    namespace?.end()
  }
}

interface Ran {
  readonly nodes: readonly RedisNode[]
  readonly receivers: readonly Receiver[]
  readonly from: number
  readonly back: number
}

async function outcomeOf(contestant: Contestant, fault: string, ran: Ran): Promise<Outcome> {
  const { nodes, receivers, from, back } = ran
  const problems: string[] = []
  let crashes = 0
  let hangs = 0
  const reports = await Promise.all(
    nodes.map((node) =>
      node.report().catch((error: Error) => {
        if (node.ended === null) hangs++
        else crashes++
        problems.push(error.message)
        return null
      }),
    ),
  )
  const all = reports.filter((report) => report !== null)
  const count = reports.slice(0, RATES.length).every((report) => report) ? RATES.length : 0
  const publishers = all.slice(0, count)
  const figures = account({ receivers, publishers, others: all.slice(count), from, back })
  for (const { uncaught } of all) problems.push(...uncaught.slice(0, 3))
  return {
    contestant,
    fault,
    ...figures,
    crashes,
    hangs,
    problems: [...new Set(problems)].join('\n').replaceAll(`${process.cwd()}/`, ''),
  }
}

/** Until something has come across both ways since, and a while longer. */
async function untilHealed(
  receivers: readonly Receiver[],
  publishers: number,
  back: number,
): Promise<void> {
  const end = back + LONGEST
  const heard = ({ node, got }: Receiver): boolean => {
    for (let p = 0; p < publishers; p++) {
      if (p !== node && !((got[p]?.at.at(-1) ?? 0) >= back)) return false
    }
    return true
  }
  while (Date.now() < end && !receivers.every(heard)) await pause(50)
  await pause(AFTER)
}

const gotOf = (receivers: readonly Receiver[]): number =>
  receivers.reduce((all, { got }) => all + got.reduce((sum, one) => sum + (one?.last ?? 0), 0), 0)

async function untilQuiet(receivers: readonly Receiver[]): Promise<void> {
  let before = gotOf(receivers)
  let since = Date.now()
  while (Date.now() - since < QUIET) {
    await pause(200)
    const now = gotOf(receivers)
    if (now !== before) since = Date.now()
    before = now
  }
}

/** What koaws must not do. */
function wrongIn(outcome: Outcome): string[] {
  const { contestant, fault, crashes, hangs, uncaught, silent, healed } = outcome
  if (contestant !== 'koaws') return []
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${fault}: ${what}`)
  }
  must(crashes + uncaught === 0, `${crashes} crashes, ${uncaught} uncaught errors`)
  must(hangs === 0, `${hangs} instances hang`)
  must(outcome.published > 0, 'nothing was published')
  must(!outcome.verdicts['pending'], `${outcome.verdicts['pending']} deliveries have no verdict`)
  must(silent === 0, `${silent} were lost, and nobody was told`)
  must(outcome.duplicated === 0, `${outcome.duplicated} came twice`)
  must(outcome.outOfOrder === 0, `${outcome.outOfOrder} came out of order`)
  must(healed !== null && healed <= MOST_HEALING, `healed after ${healed} ms`)
  return wrong
}

function row(outcome: Outcome): Record<string, unknown> {
  const { verdicts, counted } = outcome
  return {
    contestant: outcome.contestant,
    fault: outcome.fault,
    published: outcome.published,
    verdicts: Object.entries(verdicts)
      .map(([name, many]) => `${name} ${many}`)
      .join(', '),
    expected: outcome.expected,
    lost: outcome.lost,
    'by verdict': outcome.byVerdict,
    'by client': outcome.byClient,
    SILENT: outcome.silent,
    'counted in/out': `${counted.lost}/${counted.failed}`,
    'while away': `${outcome.awayDelivered} of ${outcome.away}`,
    twice: outcome.duplicated,
    disorder: outcome.outOfOrder,
    'crash/uncaught/hang': `${outcome.crashes}/${outcome.uncaught}/${outcome.hangs}`,
    'healed ms': outcome.healed,
  }
}

async function main(): Promise<boolean> {
  const known = [...CONTESTANTS, ...Object.keys(FAULTS)]
  const unknown = only?.filter((name) => !known.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`--only: ${unknown.join()} is none of ${known.join()}`)
  const chosen = <T extends string>(names: readonly T[]): readonly T[] => {
    const some = names.filter((name) => only?.includes(name))
    return some.length > 0 ? some : names
  }
  const began = Date.now()
  const outcomes: Outcome[] = []
  for (const name of chosen(Object.keys(FAULTS))) {
    for (const contestant of chosen(CONTESTANTS)) {
      log(`${name}: ${contestant}`)
      outcomes.push(await run(contestant, name, FAULTS[name] as Fault))
      log(`  ${JSON.stringify(outcomes.at(-1))}`)
    }
  }
  const wrong = outcomes.flatMap(wrongIn)
  console.table(outcomes.map(row))
  for (const line of wrong) console.log(line)
  if (quick || only) return wrong.length === 0
  const settings = {
    rates: RATES.join(),
    clientsEach: EACH,
    seconds: Math.round((Date.now() - began) / 1000),
  }
  keepResult('redis-faults', { ok: wrong.length === 0, wrong, ...settings, outcomes })
  return wrong.length === 0
}

/** What must not outlive this process, however it ends. */
function endAll(): void {
  killNodes()
  void stopRedis()
  endNamespaces()
}

process.on('exit', endAll)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => process.exit(1))
main().then(
  (ok) => process.exit(ok ? 0 : 1),
  (error) => {
    log(error.stack)
    process.exit(1)
  },
)
