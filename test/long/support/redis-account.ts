import type { Receiver } from './redis-clients.ts'
import type { NodeReport } from './redis-node.ts'

/** Before the loss of a connection is seen, what is sent may go into it, in milliseconds. */
const EDGE = 300

/** What became of the messages of a run. */
export interface Account {
  published: number
  verdicts: Record<string, number>
  /** Deliveries to clients that were connected at the time. */
  expected: number
  delivered: number
  lost: number
  /** Of the lost: those whose publisher was told so, and those whose receiver was. */
  byVerdict: number
  byClient: number
  /** Of the lost: those of which nobody was told. */
  silent: number
  /** Deliveries to clients that were away at the time, and did get them. */
  away: number
  awayDelivered: number
  duplicated: number
  outOfOrder: number
  /** What the instances counted: missed here, and failed there. */
  counted: { lost: number; failed: number; resyncs: number }
  uncaught: number
  /** Milliseconds until the first message was across again, both ways; null: none was. */
  healed: number | null
  longestTurn: number
}

export interface Accounted {
  /** Whether a client that was away gets what it missed, where the server says so. */
  readonly receivers: readonly Receiver[]
  /** By publisher; those that cannot report any more are not there. */
  readonly publishers: readonly NodeReport[]
  readonly others: readonly NodeReport[]
  /** When the fault began and ended. */
  readonly from: number
  readonly back: number
}

export function account({ receivers, publishers, others, back }: Accounted): Account {
  const sum: Account = {
    published: 0,
    verdicts: {},
    expected: 0,
    delivered: 0,
    lost: 0,
    byVerdict: 0,
    byClient: 0,
    silent: 0,
    away: 0,
    awayDelivered: 0,
    duplicated: 0,
    outOfOrder: receivers.reduce((all, { outOfOrder }) => all + outOfOrder, 0),
    counted: { lost: 0, failed: 0, resyncs: 0 },
    uncaught: 0,
    healed: healedAfter(receivers, back),
    longestTurn: 0,
  }
  for (const { verdicts, hasVerdicts } of publishers) {
    sum.published += verdicts.length
    for (const verdict of verdicts) {
      const name = hasVerdicts ? (verdict ?? 'pending') : 'says nothing'
      sum.verdicts[name] = (sum.verdicts[name] ?? 0) + 1
    }
  }
  for (const receiver of receivers) {
    sum.counted.resyncs += receiver.resyncs.length
    publishers.forEach((publisher, p) => void one(sum, receiver, publisher, p))
  }
  for (const { status, uncaught, longestTurn } of [...publishers, ...others]) {
    sum.counted.lost += status?.backplane.lost ?? 0
    sum.counted.failed += status?.drops['backplane'] ?? 0
    sum.uncaught += uncaught.length
    sum.longestTurn = Math.max(sum.longestTurn, longestTurn)
  }
  return sum
}

/** All that one client should have got from one publisher. */
function one(sum: Account, receiver: Receiver, { at, verdicts }: NodeReport, p: number): void {
  for (let s = 0; s < at.length; s++) {
    const publishedAt = at[s] as number
    const times = receiver.got[p]?.times[s] ?? 0
    if (times > 1) sum.duplicated += times - 1
    const away = receiver.away.find(({ from, to }) => publishedAt > from - EDGE && publishedAt < to)
    if (away && away.recovered !== true) {
      sum.away++
      if (times > 0) sum.awayDelivered++
      continue
    }
    sum.expected++
    if (times > 0) sum.delivered++
    else {
      sum.lost++
      const verdict = verdicts[s]
      if (verdict === 'failed' || verdict === 'queued') sum.byVerdict++
      else if (wasTold(receiver, publishedAt)) sum.byClient++
      else sum.silent++
    }
  }
}

/** Whether a client was told after a message that something was missed. */
function wasTold({ resyncs, away }: Receiver, publishedAt: number): boolean {
  if (resyncs.some((at) => at >= publishedAt)) return true
  return away.some(({ from, recovered }) => recovered === false && from >= publishedAt)
}

/** The publisher p sits on the instance p. */
function healedAfter(receivers: readonly Receiver[], back: number): number | null {
  let slowest = 0
  for (const { node, got } of receivers) {
    for (const [p, other] of got.entries()) {
      if (p === node || !other) continue
      const first = other.at.reduce(
        (least, at) => (at >= back && at < least ? at : least),
        Infinity,
      )
      slowest = Math.max(slowest, first - back)
    }
  }
  return Number.isFinite(slowest) ? slowest : null
}
