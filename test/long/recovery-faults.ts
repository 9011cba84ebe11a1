/**
 * Measures lost messages of rooms with history while Redis, the network or an instance fails, and
 * clients come and go.
 *
 *     npx tsx test/long/recovery-faults.ts [--quick] [--only=name,...] [--seed=number]
 *
 * The table goes to stdout, the progress to stderr. Exits with 1 when a check of koaws fails. See
 * README.md. Linux only; a partition needs root, `ip` and `iptables`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { randomOf } from '../support/recovery-model.ts'
import { chooser, optionOf, runProgram } from './support/program.ts'
import type { Contestant } from './support/redis-contestants.ts'
import { type RecoveryFault, recoveryFaults } from './support/redis-fault-table.ts'
import type { NodeReport } from './support/redis-node.ts'
import type { RedisNode } from './support/redis-nodes.ts'
import { type RecoveryAccount, recoveryAccount } from './support/redis-recovery-account.ts'
import { Front, type Habit, RoomClient } from './support/redis-recovery-clients.ts'
import { endAll, type OpenSite, openSite } from './support/redis-site.ts'
import { keepResult } from './support/results.ts'

const quick = process.argv.includes('--quick')
const only = optionOf('only')?.split(',')
const seed = Number(optionOf('seed') ?? Date.now() % 1_000_000)

const CONTESTANTS: readonly Contestant[] = ['koaws', 'redis-streams-adapter']
const FAULTS = recoveryFaults(quick)

/** Messages per second of the first three instances. */
const RATES = [200, 50, 20]
/** Clients per instance, by habit. */
const EACH: Record<Habit, number> = { steady: 2, restless: quick ? 2 : 3, absent: 1 }
const BEFORE = quick ? 1_000 : 3_000
/** How long publishing continues after the fault: at least, and at most when no message arrives. */
const AFTER = quick ? 2_000 : 5_000
const LONGEST = quick ? 30_000 : 90_000
/** After so long without an event, the run is over. */
const QUIET = 6_000
/** How long a restless client is connected and away, at least and at most. */
const PRESENT = [1_000, 4_000] as const
const AWAY = [100, 2_500] as const
/** How long koaws may take to deliver the first message after a fault. */
const MOST_HEALING = 5_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)

interface Outcome extends RecoveryAccount {
  readonly contestant: Contestant
  readonly fault: string
  readonly clients: number
  /** Instances that ended, and instances that did not answer. */
  readonly crashes: number
  readonly hangs: number
  /** Uncaught errors and other problems, in one text. */
  readonly problems: string
}

async function run(contestant: Contestant, name: string, fault: RecoveryFault): Promise<Outcome> {
  const random = randomOf(seed + Object.keys(FAULTS).indexOf(name))
  const site = await openSite(contestant, fault, { maxQueued: fault.maxQueued })
  const publishers = site.nodes.slice(0, RATES.length)
  const crowd = new Crowd(contestant, site, random)
  try {
    await crowd.open()
    await pause(500) // the instances discover each other
    await Promise.all(publishers.map((node, p) => node.publish(p, RATES[p] as number)))
    crowd.move()
    await pause(BEFORE)
    const from = Date.now()
    crowd.leave()
    await fault.run(site)
    const back = Date.now()
    await pause(200)
    crowd.comeBack()
    const alive = publishers.filter((node) => site.nodes.includes(node))
    await untilHealed(
      crowd.clients,
      alive.map((node) => publishers.indexOf(node)),
      back,
    )
    crowd.rest()
    await Promise.all(alive.map((node) => node.stopPublishing().catch(() => {})))
    await untilQuiet(crowd.clients)
    return await outcomeOf({ contestant, name, fault, site, publishers, crowd, from, back })
  } finally {
    crowd.end()
    await site.end()
  }
}

/** The clients of a run. */
class Crowd {
  readonly clients: RoomClient[] = []
  readonly #contestant: Contestant
  readonly #site: OpenSite
  readonly #random: () => number
  readonly #fronts: { readonly habit: Habit; readonly front: Front }[] = []
  readonly #timers = new Map<Front, NodeJS.Timeout>()

  constructor(contestant: Contestant, site: OpenSite, random: () => number) {
    this.#contestant = contestant
    this.#site = site
    this.#random = random
  }

  /** Opens all clients, and resolves when they are in the room. */
  async open(): Promise<void> {
    const { nodes } = this.#site
    const anyNode = (): RedisNode => nodes[Math.floor(this.#random() * nodes.length)] as RedisNode
    for (const [i, node] of nodes.entries()) {
      for (const habit of ['steady', 'restless', 'absent'] as const) {
        for (let j = 0; j < EACH[habit]; j++) {
          let url = `ws://${node.host}:${node.port}/`
          if (habit !== 'steady') {
            const front = await Front.open(anyNode)
            this.#fronts.push({ habit, front })
            url = `ws://127.0.0.1:${front.port}/`
          }
          const user = `${habit}-${i}-${j}`
          this.clients.push(RoomClient.open(this.#contestant, habit, url, user))
        }
      }
    }
    await Promise.all(this.clients.map(({ joined }) => joined))
  }

  /** From now on, restless clients are cut off again and again. */
  move(): void {
    for (const { habit, front } of this.#fronts) if (habit === 'restless') this.#stay(front)
  }

  /** The absent clients leave. */
  leave(): void {
    for (const { habit, front } of this.#fronts) if (habit === 'absent') front.close()
  }

  comeBack(): void {
    for (const { habit, front } of this.#fronts) if (habit === 'absent') front.open()
  }

  /** From now on, all clients stay. */
  rest(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    for (const { front } of this.#fronts) front.open()
  }

  end(): void {
    this.rest()
    for (const client of this.clients) client.close()
    for (const { front } of this.#fronts) front.end()
  }

  #stay(front: Front): void {
    front.open()
    this.#later(front, PRESENT, () => {
      front.close()
      this.#later(front, AWAY, () => this.#stay(front))
    })
  }

  #later(front: Front, [least, most]: readonly [number, number], act: () => void): void {
    this.#timers.set(front, setTimeout(act, least + this.#random() * (most - least)))
  }
}

interface Ran {
  readonly contestant: Contestant
  readonly name: string
  readonly fault: RecoveryFault
  readonly site: OpenSite
  readonly publishers: readonly RedisNode[]
  readonly crowd: Crowd
  readonly from: number
  readonly back: number
}

async function outcomeOf(ran: Ran): Promise<Outcome> {
  const { contestant, name, fault, site, publishers, crowd, from, back } = ran
  const { clients } = crowd
  const { loses = false } = fault
  const problems: string[] = []
  let crashes = 0
  let hangs = 0
  const reports: NodeReport[] = []
  for (const node of site.nodes) {
    try {
      reports.push(await node.report())
    } catch (error) {
      if (node.ended === null) hangs++
      else crashes++
      problems.push((error as Error).message)
    }
  }
  const published = publishers.map((node) => ({
    ...node.told,
    hasVerdicts: contestant === 'koaws',
    isKilled: !site.nodes.includes(node),
  }))
  const figures = recoveryAccount({ clients, published, reports, from, back, loses })
  for (const { uncaught } of reports) problems.push(...uncaught.slice(0, 3))
  for (const client of clients) {
    problems.push(...client.problems.slice(0, 3))
    if (!client.isIn) problems.push(`a ${client.habit} client did not come back`)
  }
  const text = [...new Set(problems)].join('\n').replaceAll(`${process.cwd()}/`, '')
  const facts = { contestant, fault: name, clients: clients.length }
  return { ...facts, ...figures, crashes, hangs, problems: text }
}

/** Waits until every steady client has a message of each living publisher after the fault, and a while longer. */
async function untilHealed(
  clients: readonly RoomClient[],
  publishers: readonly number[],
  back: number,
): Promise<void> {
  const end = back + LONGEST
  const heard = ({ habit, happenings }: RoomClient): boolean => {
    if (habit !== 'steady') return true
    const missing = new Set(publishers)
    for (let i = happenings.length - 1; i >= 0 && missing.size > 0; i--) {
      const one = happenings[i]
      if (!one || one.at < back) break
      if (one.is === 'message') missing.delete(one.p)
    }
    return missing.size === 0
  }
  while (Date.now() < end && !clients.every(heard)) await pause(50)
  await pause(AFTER)
}

/** Waits until all clients are in the room and get nothing more. */
async function untilQuiet(clients: readonly RoomClient[]): Promise<void> {
  const end = Date.now() + LONGEST
  const count = (): number => clients.reduce((sum, { happenings }) => sum + happenings.length, 0)
  let before = count()
  let since = Date.now()
  while (Date.now() - since < QUIET && Date.now() < end) {
    await pause(200)
    const now = count()
    if (now !== before || clients.some(({ isIn }) => !isIn)) since = Date.now()
    before = now
  }
}

/** Returns the failed checks of koaws. */
function wrongIn(outcome: Outcome): string[] {
  const { contestant, fault, crashes, hangs, uncaught, silent, healed, verdicts } = outcome
  if (contestant !== 'koaws') return []
  const { loses = false, maxQueued = 0 } = FAULTS[fault] as RecoveryFault
  const failed = verdicts['failed'] ?? 0
  const refused = Object.values(outcome.refused).reduce((sum, many) => sum + many, 0)
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${fault}: ${what}`)
  }
  must(crashes + uncaught === 0, `${crashes} crashes, ${uncaught} uncaught errors`)
  must(hangs === 0, `${hangs} instances hang`)
  must(outcome.problems === '', outcome.problems)
  must(outcome.published > 0 && outcome.returns > 0, 'nothing was published, or no client returned')
  must(silent === 0, `${silent} were lost without a report`)
  must(outcome.doubled === 0, `${outcome.doubled} came twice`)
  must(outcome.outOfOrder === 0, `${outcome.outOfOrder} came out of order`)
  must(outcome.contradicted === 0, `${outcome.contradicted} came although they had failed`)
  must(outcome.miscounted === 0, `${outcome.miscounted} recoveries told another number`)
  must(!verdicts['pending'] && outcome.waiting === 0, 'some messages have no verdict')
  must(outcome.unrecorded === failed, `${outcome.unrecorded} are counted, ${failed} have failed`)
  must(failed > 0 === maxQueued > 0, `${failed} messages failed`)
  if (!loses) {
    must(outcome.lost === 0, `${outcome.lost} were lost`)
    must(refused === 0, `${refused} recoveries were refused: ${JSON.stringify(outcome.refused)}`)
    must(outcome.again === 0, `${outcome.again} came again`)
  }
  must(healed !== null && healed <= MOST_HEALING, `healed after ${healed} ms`)
  return wrong
}

const listed = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, many]) => `${name} ${many}`)
    .join(', ')

function row(outcome: Outcome): Record<string, unknown> {
  return {
    contestant: outcome.contestant,
    fault: outcome.fault,
    published: listed(outcome.verdicts),
    owed: outcome.owed,
    'lost (steady)': `${outcome.lost} (${outcome.lostSteady})`,
    told: outcome.told,
    SILENT: outcome.silent,
    twice: outcome.doubled,
    again: outcome.again,
    disorder: outcome.outOfOrder,
    returns: outcome.returns,
    'longest away': outcome.longestAway,
    'recovered (messages)': `${outcome.recovered} (${outcome.missed})`,
    refused: listed(outcome.refused),
    'crash/uncaught/hang': `${outcome.crashes}/${outcome.uncaught}/${outcome.hangs}`,
    'healed ms': outcome.healed,
  }
}

async function main(): Promise<boolean> {
  const chosen = chooser(only, CONTESTANTS, Object.keys(FAULTS))
  log(`seed ${seed}`)
  const began = Date.now()
  const outcomes: Outcome[] = []
  for (const name of chosen(Object.keys(FAULTS))) {
    const fault = FAULTS[name] as RecoveryFault
    for (const contestant of chosen(CONTESTANTS)) {
      if (fault.maxQueued && contestant !== 'koaws') continue
      log(`${name}: ${contestant}`)
      outcomes.push(await run(contestant, name, fault))
      log(`  ${JSON.stringify(outcomes.at(-1))}`)
    }
  }
  const wrong = outcomes.flatMap(wrongIn)
  console.table(outcomes.map(row))
  for (const line of wrong) console.log(line)
  if (quick || only) return wrong.length === 0
  const seconds = Math.round((Date.now() - began) / 1000)
  const settings = { seed, rates: RATES.join(), clientsEach: EACH, seconds }
  keepResult('recovery-faults', { ok: wrong.length === 0, wrong, ...settings, outcomes })
  return wrong.length === 0
}

runProgram(main, endAll)
