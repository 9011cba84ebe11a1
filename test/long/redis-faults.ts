/**
 * Measures lost messages between instances while Redis, the network or an instance fails.
 *
 *     npx tsx test/long/redis-faults.ts [--quick] [--only=name,...]
 *
 * The table goes to stdout, the progress to stderr. Exits with 1 when a check of koaws fails. See
 * README.md. Linux only; a partition needs root, `ip` and `iptables`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { chooser, optionOf, runProgram } from './support/program.ts'
import { type Account, account } from './support/redis-account.ts'
import { Receiver } from './support/redis-clients.ts'
import { CONTESTANTS, type Contestant } from './support/redis-contestants.ts'
import { type Fault, faults } from './support/redis-fault-table.ts'
import type { RedisNode } from './support/redis-nodes.ts'
import { endAll, openSite } from './support/redis-site.ts'
import { keepResult } from './support/results.ts'

const quick = process.argv.includes('--quick')
const only = optionOf('only')?.split(',')

/** Messages per second of the first two instances. */
const RATES = [200, 50]
/** Clients per instance. */
const EACH = quick ? 3 : 5
const BEFORE = quick ? 1_000 : 2_000
/**
 * How long publishing continues after the fault in milliseconds: at least, and at most when no
 * message arrives.
 */
const AFTER = 3_000
const LONGEST = quick ? 30_000 : 90_000
/**
 * After this many milliseconds without a message, the rest counts as lost. Instances report gaps
 * every 2 s.
 */
const QUIET = 6_000
/** How long koaws may take to deliver the first message after a fault, in milliseconds. */
const MOST_HEALING = 5_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)

const FAULTS = faults(quick)

interface Outcome extends Account {
  readonly contestant: Contestant
  readonly fault: string
  /** Instances that exited, and instances that did not answer. */
  readonly crashes: number
  readonly hangs: number
  /** The first uncaught errors and other problems, in one text. */
  readonly problems: string
}

async function run(contestant: Contestant, name: string, fault: Fault): Promise<Outcome> {
  const site = await openSite(contestant, fault)
  const { nodes } = site
  const receivers: Receiver[] = []
  try {
    for (const [i, { host, port }] of nodes.entries()) {
      for (let j = 0; j < EACH; j++) {
        receivers.push(Receiver.open(contestant, i, `ws://${host}:${port}/`))
      }
    }
    await Promise.all(receivers.map(({ joined }) => joined))
    await pause(500) // the instances discover each other
    const publishers = nodes.slice(0, RATES.length)
    await Promise.all(publishers.map((node, p) => node.publish(p, RATES[p] as number)))
    await pause(BEFORE)
    const from = Date.now()
    await fault.run(site)
    const back = Date.now()
    await untilHealed(receivers, publishers.length, back)
    await Promise.all(publishers.map((node) => node.stopPublishing().catch(() => {})))
    await untilQuiet(receivers)
    return await outcomeOf(contestant, name, { nodes, receivers, from, back })
  } finally {
    for (const receiver of receivers) receiver.close()
    await site.end()
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

/** Waits until every receiver has a message from every other instance, and a while longer. */
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

/** Returns the failed checks of koaws. */
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
  const chosen = chooser(only, CONTESTANTS, Object.keys(FAULTS))
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

runProgram(main, endAll)
