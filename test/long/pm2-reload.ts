/**
 * What becomes of messages while PM2 reloads the workers of a cluster.
 *
 *     npx tsc -b && npx tsx test/long/pm2-reload.ts [--quick] [--only=name,...]
 *
 * The table goes to stdout, the progress to stderr. Ends with 1 when something is wrong with koaws. See
 * README.md beside it. Linux only.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { startRedis, stopRedis } from '../support/redis.ts'
import { endPm2, Pm2 } from './support/redis-pm2.ts'
import { type Answer, ReloadClient } from './support/redis-reload-clients.ts'
import { keepResult } from './support/results.ts'

const CONTESTANTS = ['koaws/cluster', 'koaws/redis', 'redis-streams-adapter']
const quick = process.argv.includes('--quick')
const only = process.argv
  .find((word) => word.startsWith('--only='))
  ?.slice(7)
  .split(',')

const WORKERS = 4
const RELOADS = quick ? 2 : 10
const CLIENTS = quick ? 100 : 500
const ROOMS = 5
/** Of each room, so many clients publish. */
const PUBLISHERS = 4
/** Messages in all rooms together. */
const PER_SECOND = 100
/** So long before its worker is told to stop, what is published may still be on its way to it, in milliseconds. */
const EDGE = 250
const QUIET = 6_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)

/** A message that a server has answered for. */
interface Published extends Required<Answer> {
  readonly key: string
  readonly room: string
}

class Publisher {
  readonly published: Published[] = []
  /** Nobody knows whether these were published. */
  unsure = 0
  /** Turns in which the client was away. */
  skipped = 0
  readonly #clients: readonly ReloadClient[]
  readonly #next: number[]
  readonly #pending = new Set<Promise<void>>()
  #turn = 0
  #timer: NodeJS.Timeout | undefined

  constructor(clients: readonly ReloadClient[]) {
    this.#clients = clients
    this.#next = clients.map(() => 0)
  }

  begin(): void {
    const began = performance.now()
    this.#timer = setInterval(() => {
      const due = ((performance.now() - began) * PER_SECOND) / 1000
      for (; this.#turn < due; this.#turn++) this.#one(this.#turn % this.#clients.length)
    }, 1000 / PER_SECOND)
  }

  async end(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#pending)
  }

  #one(p: number): void {
    const client = this.#clients[p] as ReloadClient
    if (!client.isIn) {
      this.skipped++
      return
    }
    const s = this.#next[p] as number
    this.#next[p] = s + 1
    const { room } = client
    const said = client.say({ p, s, room }).then(
      ({ verdict = 'none', ...rest }) =>
        void this.published.push({ key: `${p}:${s}`, room, verdict, ...rest }),
      () => void this.unsure++,
    )
    this.#pending.add(said)
    void said.then(() => this.#pending.delete(said))
  }
}

/** What may explain why a message did not come. */
interface Loss {
  readonly at: number
  readonly verdict: string
  /** The worker that published it, and the one that should have delivered it. */
  readonly publisher: number
  readonly 'its age, s': number
  readonly receiver: number
  readonly 'ms since it joined': number
  readonly 'ms until it left': number | null
}

interface Counts {
  published: number
  came: number
}

interface Outcome {
  readonly contestant: string
  readonly reloads: number
  readonly published: number
  readonly verdicts: Record<string, number>
  readonly unsure: number
  readonly skipped: number
  /** Deliveries to clients that were in the room at the time. */
  readonly owed: number
  readonly lost: number
  /** Of the lost: those whose publisher was told, or whose receiver. */
  readonly reported: number
  /** At most 1,000. */
  readonly losses: readonly Loss[]
  readonly duplicated: number
  /** Deliveries just before a worker was told to stop, and those that came. */
  readonly edge: Counts
  /** Deliveries to clients that were away, and those that came. */
  readonly away: Counts
  /** How often clients left, by what they were told, and how often what they missed came later. */
  readonly departures: Record<string, number>
  readonly recoveries: number
  readonly resyncs: number
  /** Milliseconds that a client was away. */
  readonly awayMs: { readonly median: number; readonly max: number }
  readonly neverBack: number
  readonly workersOnline: number
  /** The first lines that workers printed as errors. */
  readonly errors: string
  /** Of the clients' process: the longest turn of its loop. */
  readonly longestTurn: number
}

async function run(contestant: string): Promise<Outcome> {
  const pm2 = new Pm2()
  const redis = await startRedis()
  const port = await freePort()
  const clients: ReloadClient[] = []
  const loop = monitorEventLoopDelay({ resolution: 10 })
  try {
    const env = { CONTESTANT: contestant, PORT: String(port), REDIS_PORT: String(redis.port) }
    await pm2.start(WORKERS, env)
    for (let i = 0; i < CLIENTS; i++) {
      clients.push(ReloadClient.open(contestant, port, String(i % ROOMS)))
      if (i % 50 === 49) await pause(100)
    }
    await until(() => clients.every(({ isIn }) => isIn), 30_000)
    await pause(2_000)
    loop.enable()
    const publisher = new Publisher(clients.slice(0, ROOMS * PUBLISHERS))
    publisher.begin()
    await pause(2_000)
    for (let i = 0; i < RELOADS; i++) {
      await pm2.reload()
      log(`  reload ${i + 1}`)
      await until(() => clients.every(({ isIn }) => isIn), 15_000).catch(() => {})
      await pause(1_000)
    }
    await pause(2_000)
    await publisher.end()
    await pause(QUIET)
    const online = await pm2.online()
    const { ends } = pm2
    for (const client of clients) client.correct(ends)
    return outcomeOf(contestant, clients, publisher, {
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

function outcomeOf(
  contestant: string,
  clients: readonly ReloadClient[],
  { published, unsure, skipped }: Publisher,
  rest: Pick<Outcome, 'workersOnline' | 'errors' | 'longestTurn'>,
): Outcome {
  const verdicts: Record<string, number> = {}
  for (const { verdict } of published) verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  let [owed, lost, reported, duplicated, resyncs, recoveries] = [0, 0, 0, 0, 0, 0]
  const edge: Counts = { published: 0, came: 0 }
  const away: Counts = { published: 0, came: 0 }
  const departures: Record<string, number> = {}
  const gaps: number[] = []
  const losses: Loss[] = []
  for (const client of clients) {
    resyncs += client.resyncs.length
    for (const { from, to, recovered, why } of client.absences) {
      departures[why] = (departures[why] ?? 0) + 1
      if (recovered) recoveries++
      if (to !== Number.POSITIVE_INFINITY) gaps.push(to - from)
    }
    for (const times of client.got.values()) duplicated += times - 1
    for (const one of published) {
      const { key, room, at } = one
      if (room !== client.room) continue
      const came = client.got.has(key)
      const kind = presenceOf(client, at)
      if (kind === 'in') {
        owed++
        if (came) continue
        lost++
        if (isReported(client, one)) reported++
        if (losses.length < 20) losses.push(lossOf(client, one))
      } else {
        const counts = kind === 'edge' ? edge : away
        counts.published++
        if (came) counts.came++
      }
    }
  }
  gaps.sort((a, b) => a - b)
  const awayMs = { median: gaps[gaps.length >> 1] ?? 0, max: gaps.at(-1) ?? 0 }
  const neverBack = clients.filter(({ isIn }) => !isIn).length
  const counts = { published: published.length, verdicts, unsure, skipped, owed, lost, reported }
  const presence = { duplicated, edge, away, departures, recoveries, resyncs, awayMs, neverBack }
  return { contestant, reloads: RELOADS, ...counts, ...presence, losses, ...rest }
}

/** Whether its publisher was told, or the client afterwards. */
function isReported({ resyncs }: ReloadClient, { at, verdict }: Published): boolean {
  return verdict === 'queued' || verdict === 'failed' || resyncs.some((told) => told >= at)
}

function lossOf({ workers, absences }: ReloadClient, { at, pid, age, verdict }: Published): Loss {
  const worker = workers.findLast((one) => one.at <= at)
  const next = absences.find(({ from }) => from > at)
  return {
    at,
    verdict,
    publisher: pid,
    'its age, s': Number(age.toFixed(2)),
    receiver: worker?.pid ?? 0,
    'ms since it joined': at - (worker?.at ?? 0),
    'ms until it left': next ? next.from - at : null,
  }
}

/** Where a client was when something was published: what a recovered one missed is owed to it. */
function presenceOf({ absences, joinedAt }: ReloadClient, at: number): 'in' | 'edge' | 'away' {
  if (at <= joinedAt) return 'away'
  for (const { from, to, recovered } of absences) {
    if (recovered || at > to || at <= from - EDGE) continue
    return at <= from ? 'edge' : 'away'
  }
  return 'in'
}

async function until(condition: () => boolean, patience: number): Promise<void> {
  const end = Date.now() + patience
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not all clients are in their room after ${patience} ms`)
    await pause(20)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** What koaws must not do. */
function wrongIn(outcome: Outcome): string[] {
  const { contestant, lost, reported, duplicated, neverBack, errors, owed } = outcome
  if (!contestant.startsWith('koaws')) return []
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${contestant}: ${what}`)
  }
  must(owed > 0, 'nothing was owed to anybody')
  must(lost === 0, `${lost} lost, ${reported} of them reported`)
  must(duplicated === 0, `${duplicated} came twice`)
  must(neverBack === 0, `${neverBack} clients did not come back`)
  must(outcome.workersOnline === WORKERS, `${outcome.workersOnline} workers are online`)
  must(errors === '', `a worker printed ${errors}`)
  return wrong
}

function row(outcome: Outcome): Record<string, unknown> {
  const pairs = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([name, many]) => `${name} ${many}`)
      .join(', ')
  return {
    contestant: outcome.contestant,
    published: outcome.published,
    verdicts: pairs(outcome.verdicts),
    'unsure/skipped': `${outcome.unsure}/${outcome.skipped}`,
    owed: outcome.owed,
    LOST: outcome.lost,
    reported: outcome.reported,
    twice: outcome.duplicated,
    'at the edge': `${outcome.edge.came} of ${outcome.edge.published}`,
    'while away': `${outcome.away.came} of ${outcome.away.published}`,
    left: pairs(outcome.departures),
    recovered: outcome.recoveries,
    'away ms median/max': `${outcome.awayMs.median}/${outcome.awayMs.max}`,
  }
}

async function main(): Promise<boolean> {
  const unknown = only?.filter((name) => !CONTESTANTS.includes(name)) ?? []
  if (unknown.length > 0)
    throw new Error(`--only: ${unknown.join()} is none of ${CONTESTANTS.join()}`)
  const outcomes: Outcome[] = []
  for (const contestant of CONTESTANTS.filter((name) => !only || only.includes(name))) {
    log(contestant)
    outcomes.push(await run(contestant))
    log(`  ${JSON.stringify(outcomes.at(-1))}`)
  }
  const wrong = outcomes.flatMap(wrongIn)
  console.table(outcomes.map(row))
  for (const line of wrong) console.log(line)
  if (!quick && !only) {
    const settings = {
      workers: WORKERS,
      clients: CLIENTS,
      rooms: ROOMS,
      perSecond: PER_SECOND,
      edge: EDGE,
    }
    keepResult('pm2-reload', { ok: wrong.length === 0, wrong, ...settings, outcomes })
  }
  return wrong.length === 0
}

/** What must not outlive this process, however it ends. */
function endAll(): void {
  endPm2()
  void stopRedis()
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
