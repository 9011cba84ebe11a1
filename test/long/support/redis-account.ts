import type { Receiver } from './redis-clients.ts'
import type { NodeReport } from './redis-node.ts'

/**
 * Messages sent this shortly before a lost connection is detected may be lost in it, in
 * milliseconds.
 */
const EDGE = 300

/** The account of the messages of a run. */
export interface Account {
  published: number
  verdicts: Record<string, number>
  /** Deliveries to clients that were connected at the time. */
  expected: number
  delivered: number
  lost: number
  /** Losses that were reported to the publisher, and to the receiver. */
  byVerdict: number
  byClient: number
  /** Losses without a report. */
  silent: number
  /** Deliveries to clients that were away, and how many arrived nevertheless. */
  away: number
  awayDelivered: number
  duplicated: number
  outOfOrder: number
  /** The counts of the instances: lost messages here, failed publishes there. */
  counted: { lost: number; failed: number; resyncs: number }
  uncaught: number
  /** Milliseconds until the first message arrived again in both directions; null: never. */
  healed: number | null
  longestTurn: number
}

export interface Accounted {
  /** The clients. */
  readonly receivers: readonly Receiver[]
  /** The reports by publisher, without instances that ended. */
  readonly publishers: readonly NodeReport[]
  readonly others: readonly NodeReport[]
  /** The times at which the fault began and ended. */
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
      const said = verdict && typeof verdict === 'object' ? 'recorded' : (verdict ?? 'pending')
      const name = hasVerdicts ? said : 'says nothing'
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

/** Accounts for all messages of one publisher to one client. */
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

/** Whether a client received a report of a loss after a message. */
function wasTold({ resyncs, away }: Receiver, publishedAt: number): boolean {
  if (resyncs.some((at) => at >= publishedAt)) return true
  return away.some(({ from, recovered }) => recovered === false && from >= publishedAt)
}

/** Returns how long healing took. The publisher p is the instance p. */
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
