/**
 * Cuts 2,000 clients again and again for two seconds each, and judges whether they get each message of
 * their room.
 *
 *     npx tsx test/long/recovery-drops.ts [seed] [--quick] [--clients=2000] [--seconds=600]
 *       [--only=name,...]
 *
 * The table goes to stdout, the progress to stderr. Exits with 1 when a check of koaws fails. See
 * README.md. Linux only.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { startRedis, stopRedis } from '../support/redis.ts'
import { Child, killChildren } from './support/child.ts'
import { percentile, sumOf, type Tally } from './support/drops-account.ts'
import type { ClientsReport, CutGiven, OpenGiven } from './support/drops-clients.ts'
import type { PublishGiven, ServerReport } from './support/drops-server.ts'
import { optionOf, runProgram } from './support/program.ts'
import { keepResult, withOthers } from './support/results.ts'

const quick = process.argv.includes('--quick')
const only = optionOf('only')?.split(',')
const SEED = Number(process.argv[2]) || 1

interface Load {
  readonly clients: number
  readonly seconds: number
}

const FULL: Load = { clients: 2_000, seconds: 600 }
/** A load that is below the limits of each server. */
const FIFTH: Load = { clients: 400, seconds: 300 }
const CONTESTANTS: Record<string, readonly Load[]> = {
  'koaws/memory': [FULL],
  'koaws/redis': [FIFTH],
  'socket.io/redis-streams-adapter': [FIFTH],
}
/** Run by name only: the other adapter of the peer, and rooms without history. */
const OTHERS: typeof CONTESTANTS = { 'socket.io/memory': [FIFTH], 'koaws/none': [FIFTH] }

const PROCESSES = 2
const PER_ROOM = 200
/** Messages per second in each room. */
const PER_SECOND = 20
/** How many of them are published in one turn. */
const AT_ONCE = 10
/** How long a client stays connected, in milliseconds: the mean of an exponential distribution. */
const MEAN = quick ? 5_000 : 60_000
/** How long a client is away after a cut, in milliseconds. */
const AWAY = 2_000
/** The longest time before a cut in which what was sent is lost, in milliseconds. */
const SILENCE = 500
/** How often the progress is printed, in seconds. */
const PROGRESS = 10
const QUIET = 5_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)
const tenth = (value: number): number => Math.round(value * 10) / 10
const hundredth = (value: number): number => Math.round(value * 100) / 100

interface Outcome extends Omit<Tally, 'caughtUp' | 'delays'> {
  readonly contestant: string
  readonly date: string
  readonly clients: number
  readonly rooms: number
  readonly seconds: number
  readonly published: number
  /** Messages per second and room; below 20 when the server was late. */
  readonly rate: number
  /** From a reconnect to the last message that was published before it, in milliseconds. */
  readonly caughtUpMs: Spread
  /** From the publish to the arrival, of clients that have caught up, in milliseconds. */
  readonly delayMs: Spread
  /** The use of cores: 1 is one core. */
  readonly cpu: { readonly server: number; readonly redis: number; readonly clients: number }
  /** The largest memory of the server, in MiB. */
  readonly serverMiB: number
  readonly serverLoopMs: { readonly p99: number; readonly max: number }
  readonly longestTurnOfClientsMs: number
  readonly drops: Record<string, number>
  readonly errors: readonly string[]
}

interface Spread {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

async function run(contestant: string, load: Load): Promise<Outcome> {
  const rooms = load.clients / PER_ROOM
  const redis = contestant.includes('redis') ? await startRedis() : null
  const server = new Child('./drops-server.ts')
  const clients = Array.from({ length: PROCESSES }, () => new Child('./drops-clients.ts'))
  const all = <T>(order: string, given?: (index: number) => unknown): Promise<T[]> =>
    Promise.all(clients.map((child, i) => child.ask<T>(order, given?.(i))))
  try {
    const port = await server.ask<number>('start', { contestant, redis: redis?.port ?? null })
    const each = load.clients / PROCESSES
    const most = Math.ceil((load.seconds + 300) * PER_SECOND)
    await all('open', (i): OpenGiven => {
      return { contestant, port, most, rooms, from: i * each, to: (i + 1) * each }
    })
    const redisBefore = redis ? cpuSecondsOf(redis.pid) : 0
    const began = performance.now()
    const rate: PublishGiven = { rooms, perSecond: PER_SECOND, atOnce: AT_ONCE }
    await server.ask('publish', rate)
    await pause(2_000)
    await all('cut', (): CutGiven => ({ seed: SEED, mean: MEAN, silence: SILENCE, away: AWAY }))
    for (let passed = 0; passed < load.seconds; passed += PROGRESS) {
      await pause(Math.min(PROGRESS, load.seconds - passed) * 1_000)
      log(`  after ${passed + PROGRESS} s ${JSON.stringify(await all('progress'))}`)
    }
    await all('settle')
    log(`  settled ${JSON.stringify(await all('progress'))}`)
    await pause(QUIET)
    const report = await server.ask<ServerReport>('stop')
    const redisCpu = redis ? cpuSecondsOf(redis.pid) - redisBefore : 0
    const seconds = (performance.now() - began) / 1000
    await untilQuiet(() => all('progress'))
    const reports = await all<ClientsReport>('end', () => report)
    return outcomeOf(contestant, load, seconds, report, reports, redisCpu / seconds)
  } finally {
    for (const child of [server, ...clients]) child.kill()
    await stopRedis()
  }
}

function outcomeOf(
  contestant: string,
  load: Load,
  seconds: number,
  { published, cpu, rss, loop, drops, errors }: ServerReport,
  reports: readonly ClientsReport[],
  redis: number,
): Outcome {
  const { caughtUp, delays, ...tally } = sumOf(reports)
  const usage = reports.reduce((sum, report) => sum + report.cpu, 0)
  const all = published.reduce((sum, many) => sum + many, 0)
  const rooms = published.length
  return {
    contestant,
    date: new Date().toISOString(),
    ...load,
    rooms,
    published: all,
    rate: tenth(all / rooms / seconds),
    ...tally,
    caughtUpMs: spreadOf(caughtUp),
    delayMs: spreadOf(delays),
    cpu: { server: hundredth(cpu), redis: hundredth(redis), clients: hundredth(usage) },
    serverMiB: Math.round(rss / 2 ** 20),
    serverLoopMs: { p99: tenth(loop.p99), max: tenth(loop.max) },
    longestTurnOfClientsMs: Math.round(Math.max(...reports.map((one) => one.longestTurn))),
    drops,
    errors,
  }
}

function spreadOf(numbers: readonly number[]): Spread {
  const at = (share: number): number => percentile(numbers, share)
  return { count: numbers.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** Waits until no message arrives any more. */
async function untilQuiet(progress: () => Promise<unknown[]>): Promise<void> {
  for (let before = ''; ; ) {
    const now = JSON.stringify(await progress())
    if (now === before) return
    before = now
    await pause(QUIET)
  }
}

/** The time that a process has used of a core so far, in seconds. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Returns the failed checks of koaws. */
function wrongIn(outcome: Outcome): string[] {
  const { contestant, owed, delivered, doubled, reordered, errors } = outcome
  if (!contestant.startsWith('koaws')) return []
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${contestant}: ${what}`)
  }
  must(owed > 0 && outcome.recoveries > 0, 'nothing was recovered')
  must(delivered === owed, `${owed - delivered} of ${owed} did not arrive`)
  must(outcome.lostSilently === 0, `${outcome.lostSilently} were lost silently`)
  must(outcome.lostTold === 0, `${outcome.lostTold} were lost, and the client was told`)
  must(outcome.refused === 0, `${outcome.refused} refused ${JSON.stringify(outcome.reasons)}`)
  must(doubled === 0, `${doubled} came twice`)
  must(reordered === 0, `${reordered} came out of order`)
  must(outcome.perfect === outcome.clients, `${outcome.perfect} clients have all messages in order`)
  must(outcome.neverBack === 0, `${outcome.neverBack} clients did not come back`)
  must(outcome.unexpected === 0, `${outcome.unexpected} connections ended without a cut`)
  must(errors.length === 0, `errors of the server: ${errors.join()}`)
  return wrong
}

function row(outcome: Outcome): Record<string, unknown> {
  const { caughtUpMs, delayMs, cpu } = outcome
  return {
    contestant: outcome.contestant,
    clients: outcome.clients,
    cuts: outcome.cuts,
    'per second': outcome.rate,
    owed: outcome.owed,
    delivered: outcome.delivered,
    recoveries: outcome.recoveries,
    refused: outcome.refused,
    'lost, told': outcome.lostTold,
    'LOST SILENTLY': outcome.lostSilently,
    twice: outcome.doubled,
    disorder: outcome.reordered,
    'perfect clients': outcome.perfect,
    'caught up ms p50/p99': `${caughtUpMs.p50}/${caughtUpMs.p99}`,
    'delay ms p50/p99': `${delayMs.p50}/${delayMs.p99}`,
    'cpu server/redis/clients': `${cpu.server}/${cpu.redis}/${cpu.clients}`,
    MiB: outcome.serverMiB,
  }
}

/** Returns the loads of a contestant, or that of the command line. */
function loadsOf(loads: readonly Load[]): readonly Load[] {
  const given = { clients: optionOf('clients'), seconds: optionOf('seconds') }
  if (!quick && !given.clients && !given.seconds) return loads
  const { clients, seconds } = quick ? { clients: 400, seconds: 20 } : FULL
  return [{ clients: Number(given.clients ?? clients), seconds: Number(given.seconds ?? seconds) }]
}

async function main(): Promise<boolean> {
  const known = { ...CONTESTANTS, ...OTHERS }
  const unknown = only?.filter((name) => !known[name]) ?? []
  const names = Object.keys(known)
  if (unknown.length > 0) throw new Error(`--only: ${unknown.join()} is none of ${names.join()}`)
  const own = optionOf('clients') ?? optionOf('seconds')
  const outcomes: Outcome[] = []
  for (const name of only ?? Object.keys(CONTESTANTS)) {
    for (const load of loadsOf(known[name] as readonly Load[])) {
      log(`${name}, ${load.clients} clients`)
      outcomes.push(await run(name, load))
      log(`  ${JSON.stringify(outcomes.at(-1))}`)
    }
  }
  const wrong = outcomes.flatMap(wrongIn)
  console.table(outcomes.map(row))
  for (const line of wrong) console.log(line)
  if (!quick && !own) keep(outcomes)
  return wrong.length === 0
}

/** Keeps the outcomes. Those of other contestants stay. */
function keep(outcomes: readonly Outcome[]): void {
  const all = withOthers('recovery-drops', outcomes, (one, other) => {
    return one.contestant === other.contestant && one.clients === other.clients
  })
  const wrong = all.flatMap(wrongIn)
  const settings = {
    seed: SEED,
    perSecond: PER_SECOND,
    atOnce: AT_ONCE,
    meanConnected: MEAN,
    away: AWAY,
    silence: SILENCE,
  }
  keepResult('recovery-drops', { ok: wrong.length === 0, wrong, ...settings, outcomes: all })
}

/** Ends the processes that must not outlive this one. */
function endAll(): void {
  killChildren()
  void stopRedis()
}

runProgram(main, endAll)
