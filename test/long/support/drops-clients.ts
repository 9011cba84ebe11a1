/** The clients of recovery-drops.ts, in a process of their own. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { mulberry32 } from '../../support/order.ts'
import { serve } from './child.ts'
import { newTally, type Tally } from './drops-account.ts'
import type { DropClient, DropOptions } from './drops-client.ts'
import { IoClient, KoawsClient } from './drops-real-clients.ts'
import { IoWireClient, KoawsWireClient } from './drops-wire-clients.ts'

/** What a process of clients found out. */
export interface ClientsReport extends Tally {
  /** The use of one core while clients were cut. */
  readonly cpu: number
  /** The largest delay of the event loop, in milliseconds. */
  readonly longestTurn: number
}

export interface OpenGiven extends Pick<DropOptions, 'contestant' | 'port' | 'most'> {
  readonly from: number
  readonly to: number
  readonly rooms: number
}

export interface CutGiven {
  readonly seed: number
  /** How long a client stays connected, in milliseconds: the mean. */
  readonly mean: number
  /** The longest silence before a cut, in milliseconds. */
  readonly silence: number
  readonly away: number
}

/** One client in this many of each room is that of the library; the others speak its protocol. */
const REAL = 20
/** Clients that heard nothing for longer are described in the progress, in seconds. */
const SILENT = 90
/** The share of cuts that come soon after a reconnect. */
const EARLY = 0.05
/** How long clients may take to connect, in milliseconds. */
const PATIENCE = 120_000
/** How many clients connect in 20 ms, at first. */
const AT_ONCE = 10

const tally = newTally()
const clients: DropClient[] = []
let first = 0
let isCutting = false
let pending = 0
let usage = process.cpuUsage()
let since = 0
let cpu = 0
const loop = monitorEventLoopDelay({ resolution: 5 })

function clientOf(options: DropOptions, isReal: boolean): DropClient {
  if (options.contestant.startsWith('koaws'))
    return new (isReal ? KoawsClient : KoawsWireClient)(tally, options)
  return new (isReal ? IoClient : IoWireClient)(tally, options)
}

/**
 * Cuts a client again and again, at times that the seed decides. The time until the next cut begins when the
 * client is back in its room, so that a slow machine does not keep all clients out; or at once, to hit a recovery.
 */
function cutAgain(client: DropClient, random: () => number, given: CutGiven): void {
  const isEarly = random() < EARLY
  const online = -Math.log(1 - random()) * (isEarly ? given.silence : given.mean)
  const cut = { silence: random() * given.silence, reset: random() < 0.5, away: given.away }
  const begin = (): void => {
    if (!isCutting) return
    if (isEarly || client.isIn) setTimeout(strike, online)
    else setTimeout(begin, 50)
  }
  const strike = (): void => {
    if (!isCutting) return
    pending++
    client.cut(cut, () => {
      pending--
      cutAgain(client, random, given)
    })
  }
  begin()
}

/** Resolves when all clients are in their rooms, at the latest after `PATIENCE`. */
async function allIn(): Promise<void> {
  const end = performance.now() + PATIENCE
  while (pending > 0 || !clients.every(({ isIn }) => isIn)) {
    if (performance.now() > end) return
    await pause(20)
  }
}

serve({
  async open({ from, to, rooms, ...rest }: OpenGiven) {
    first = from
    for (let index = from; index < to; index++) {
      const client = clientOf(
        { ...rest, index, room: index % rooms },
        index % (rooms * REAL) < rooms,
      )
      clients.push(client)
      client.start()
      if (index % AT_ONCE === 0) await pause(20)
    }
    await allIn()
    if (!clients.every(({ isIn }) => isIn)) throw new Error('not all clients could connect')
  },
  cut(given: CutGiven) {
    isCutting = true
    loop.enable()
    usage = process.cpuUsage()
    since = performance.now()
    for (const [i, client] of clients.entries())
      cutAgain(client, mulberry32(given.seed * 100_003 + first + i), given)
  },
  progress: () => ({
    delivered: tally.delivered,
    cuts: tally.cuts,
    refused: tally.refused,
    in: clients.filter(({ isIn }) => isIn).length,
    unexpected: tally.unexpected,
    silent: clients.flatMap(({ account, state }) => (account.state.silent > SILENT ? [state] : [])),
  }),
  /** Ends the cuts. */
  async settle() {
    const { user, system } = process.cpuUsage(usage)
    cpu = (user + system) / 1000 / (performance.now() - since)
    isCutting = false
    await allIn()
  },
  end({ published }: { published: readonly number[] }): ClientsReport {
    for (const { account, room, isIn } of clients) {
      if (isIn) account.end(published[room] as number)
      else {
        tally.neverBack++
        account.end(account.next)
      }
    }
    for (const client of clients) client.close()
    return { ...tally, cpu, longestTurn: loop.max / 1e6 }
  },
})
