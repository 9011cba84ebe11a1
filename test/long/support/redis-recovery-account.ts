import type { Verdict } from './redis-contestants.ts'
import type { NodeReport } from './redis-node.ts'
import type { Happening, RoomClient } from './redis-recovery-clients.ts'

/** A message may be lost this shortly before the end of a connection is noticed, in milliseconds. */
const EDGE = 300

/** The messages of one instance, as far as it has told: it may have been killed. */
export interface Published {
  readonly at: readonly number[]
  readonly verdicts: readonly (Verdict | undefined)[]
  /** Whether the library gives verdicts. */
  readonly hasVerdicts: boolean
  /** Whether it was killed: the verdict of its last messages is unknown. */
  readonly isKilled: boolean
}

/** The account of a run. Counts of messages are summed over all clients. */
export interface RecoveryAccount {
  published: number
  /** Messages by what the publisher learned. */
  verdicts: Record<string, number>
  /** Messages that were recorded, each for each client. */
  owed: number
  got: number
  lost: number
  /** Lost messages of clients that no test cut off. */
  lostSteady: number
  /** Lost messages of which the client was told, and all others. */
  told: number
  silent: number
  /** Messages that came twice without a refusal in between, and with one. */
  doubled: number
  again: number
  outOfOrder: number
  /** Messages that came, although their publisher was told that they would not. */
  contradicted: number
  /** Returns of the clients, the longest time away in milliseconds, and the verdicts. */
  returns: number
  longestAway: number
  recovered: number
  refused: Record<string, number>
  /** Messages in recoveries, and recoveries in which another number came than was told. */
  missed: number
  miscounted: number
  /** What the instances count: `status().drops.unrecorded`, and messages that still wait. */
  unrecorded: number
  waiting: number
  uncaught: number
  /** Milliseconds until the first message of another instance, for the slowest steady client. */
  healed: number | null
  longestTurn: number
}

export interface RecoveryAccounted {
  readonly clients: readonly RoomClient[]
  /** By publisher. */
  readonly published: readonly Published[]
  readonly reports: readonly NodeReport[]
  /** When the fault began and when it was over, in epoch milliseconds. */
  readonly from: number
  readonly back: number
  /** Whether Redis loses data: positions of a message may then differ between clients. */
  readonly loses: boolean
}

/** A place in the order of all messages. */
interface Place {
  readonly epoch: string
  readonly offset: number
}

type Refusal = Extract<Happening, { is: 'verdict' }>

const keyOf = (p: number, s: number): string => `${p}:${s}`

/** The messages that were recorded, as far as any publisher or client knows. They are owed to each client. */
function owedOf({ clients, published }: RecoveryAccounted): Set<string> {
  const owed = new Set<string>()
  published.forEach(({ at, verdicts, isKilled }, p) => {
    at.forEach((_, s) => {
      const verdict = verdicts[s]
      // The publish of Socket.IO says nothing: its message is owed.
      const isOwed = typeof verdict === 'object' || (verdict === undefined && !isKilled)
      if (isOwed) owed.add(keyOf(p, s))
    })
  })
  for (const { happenings } of clients) {
    for (const one of happenings) {
      if (one.is === 'message' && published[one.p]?.isKilled) owed.add(keyOf(one.p, one.s))
    }
  }
  return owed
}

export function recoveryAccount(given: RecoveryAccounted): RecoveryAccount {
  const { clients, published, reports } = given
  const owed = owedOf(given)
  const sum: RecoveryAccount = {
    published: 0,
    verdicts: {},
    owed: owed.size * clients.length,
    got: 0,
    lost: 0,
    lostSteady: 0,
    told: 0,
    silent: 0,
    doubled: 0,
    again: 0,
    outOfOrder: 0,
    contradicted: 0,
    returns: 0,
    longestAway: 0,
    recovered: 0,
    refused: {},
    missed: 0,
    miscounted: 0,
    unrecorded: 0,
    waiting: 0,
    uncaught: 0,
    healed: healedAfter(given),
    longestTurn: 0,
  }
  for (const publisher of published) {
    sum.published += publisher.at.length
    for (let s = 0; s < publisher.at.length; s++) {
      const name = nameOf(publisher, s)
      sum.verdicts[name] = (sum.verdicts[name] ?? 0) + 1
    }
  }
  for (const client of clients) one(sum, client, owed, given)
  for (const { status, uncaught, longestTurn } of reports) {
    sum.unrecorded += status?.drops['unrecorded'] ?? 0
    sum.waiting += status?.history?.queued.messages ?? 0
    sum.uncaught += uncaught.length
    sum.longestTurn = Math.max(sum.longestTurn, longestTurn)
  }
  return sum
}

function nameOf({ verdicts, hasVerdicts, isKilled }: Published, s: number): string {
  const verdict = verdicts[s]
  if (typeof verdict === 'object') return 'recorded'
  if (!hasVerdicts) return 'says nothing'
  return verdict ?? (isKilled ? 'killed' : 'pending')
}

/** Accounts for one client. */
function one(
  sum: RecoveryAccount,
  { habit, happenings, returns }: RoomClient,
  owed: ReadonlySet<string>,
  { published, from, loses }: RecoveryAccounted,
): void {
  /** The messages that came, with the number of refusals before. */
  const got = new Map<string, number>()
  const refusals: Refusal[] = []
  const last: number[] = []
  let reached: Place | null = null
  sum.returns += returns
  for (const happening of happenings) {
    if (happening.is === 'verdict') {
      judge(sum, happening)
      if (!happening.recovered) refusals.push(happening)
      continue
    }
    const { p, s } = happening
    const key = keyOf(p, s)
    const verdict = published[p]?.verdicts[s]
    if (verdict === 'failed') sum.contradicted++
    const before = got.get(key)
    if (before !== undefined) {
      if (before < refusals.length) sum.again++
      else sum.doubled++
      continue
    }
    got.set(key, refusals.length)
    const place = placeOf(verdict)
    const isLate = s < (last[p] ?? -1) || (!loses && reached && place && !isAfter(place, reached))
    if (isLate) sum.outOfOrder++
    last[p] = Math.max(last[p] ?? -1, s)
    if (place) reached = place
  }
  sum.miscounted += miscounted(happenings, published)
  for (const key of owed) {
    if (got.has(key)) {
      sum.got++
      continue
    }
    sum.lost++
    if (habit === 'steady') sum.lostSteady++
    const [p, s] = key.split(':').map(Number) as [number, number]
    const at = published[p]?.at[s] as number
    const place = loses ? null : placeOf(published[p]?.verdicts[s])
    if (refusals.some((refusal) => tells(refusal, place, at, from))) sum.told++
    else sum.silent++
  }
}

function judge(sum: RecoveryAccount, verdict: Refusal): void {
  const { recovered, missed, reason, at, since } = verdict
  if (since > 0) sum.longestAway = Math.max(sum.longestAway, at - since)
  if (recovered) {
    sum.recovered++
    sum.missed += missed ?? 0
    return
  }
  const name = reason ?? 'says nothing'
  sum.refused[name] = (sum.refused[name] ?? 0) + 1
}

/**
 * Whether a refusal tells of a lost message: by its place if that is known, else by time.
 *
 * @param begun when the fault began
 */
function tells(
  { from, to, at, since }: Refusal,
  place: Place | null,
  publishedAt: number,
  begun: number,
): boolean {
  if (to === null) return publishedAt >= since - EDGE && publishedAt <= at + EDGE
  if (!place) {
    const least = since > 0 ? Math.min(since, begun) : begun
    return publishedAt >= least - EDGE && publishedAt <= at
  }
  const [before, end] = [placeOf(from), placeOf(to)]
  return (!before || isAfter(place, before)) && end !== null && !isAfter(place, end)
}

/** Returns how often another number of messages came after a verdict than it told. */
function miscounted(happenings: readonly Happening[], published: readonly Published[]): number {
  let wrong = 0
  for (const [i, verdict] of happenings.entries()) {
    if (verdict.is !== 'verdict' || !verdict.recovered || !verdict.missed) continue
    const end = placeOf(verdict.to)
    let came = 0
    for (const next of happenings.slice(i + 1)) {
      if (next.is === 'verdict') break
      const place = placeOf(published[next.p]?.verdicts[next.s])
      // The publisher of a message without a place was killed.
      if (end && place && isAfter(place, end)) break
      came++
      if (came === verdict.missed) break
    }
    // The connection may have ended in the middle of it.
    const isCut = happenings.slice(i + 1).some((next) => next.is === 'verdict')
    if (came < verdict.missed && !isCut) wrong++
  }
  return wrong
}

function placeOf(position: Verdict | string | null | undefined): Place | null {
  const text = typeof position === 'object' ? position?.position : position
  const [epoch, offset] = text?.split('.') ?? []
  return epoch && offset ? { epoch, offset: Number(offset) } : null
}

function isAfter(one: Place, other: Place): boolean {
  return one.epoch === other.epoch ? one.offset > other.offset : one.epoch > other.epoch
}

function healedAfter({ clients, published, back }: RecoveryAccounted): number | null {
  let slowest = 0
  for (const { habit, happenings } of clients) {
    if (habit !== 'steady') continue
    for (const [p, { isKilled }] of published.entries()) {
      if (isKilled) continue
      const first = happenings.find((one) => one.is === 'message' && one.p === p && one.at >= back)
      if (!first) return null
      slowest = Math.max(slowest, first.at - back)
    }
  }
  return slowest
}
