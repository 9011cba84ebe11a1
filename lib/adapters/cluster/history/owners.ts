// The owner of a log: takes the entries of all publishers, in one order.

import { timeOf } from '../../../history/place.ts'
import { latest, nextBallot, nextEpoch } from './ballot.ts'
import type { Context } from './context.ts'
import { Copy, type Kept, type Snapshot } from './copy.ts'
import type { Claim, Log, Ownership } from './log.ts'
import type { Publish } from './messages.ts'
import { isSettled, type Replication } from './replication.ts'

/** Entries of one publisher without a confirmation that it knows their places; further ones wait. */
const MOST_SPOTS = 4_096
/** The largest size of entries that the replica does not have; further entries wait, in bytes. */
const MOST_UNCOMMITTED = 4 * 1024 * 1024

/** The owner of a log. It appends, sends to the replica, and commits when the replica has the entry. */
export class Owners {
  readonly #context: Context
  readonly #replication: Replication

  constructor(context: Context, replication: Replication) {
    this.#context = context
    this.#replication = replication
  }

  /** Owns a log from now on, with the best copy; null for that of this instance, or a new epoch. */
  become(log: Log, claim: Claim, best: Snapshot | null, holders: Set<string>): void {
    const context = this.#context
    const { ballot } = claim
    if (best) context.logs.setCopy(log, new Copy({ ...best, ballot }))
    else if (log.copy) log.copy.ballot = ballot
    else context.logs.setCopy(log, this.#begin(log, ballot, claim.newest, claim.forgotten))
    log.wanted.create = false
    log.wanted.after = ''
    log.wanted.asked.clear()
    log.boundTo = ''
    log.promised = latest(log.promised, ballot)
    this.#replication.own(log, ballot, holders, claim.followers)
  }

  /** Begins a new epoch, because the engine lost what an instance has seen. */
  renew(log: Log, seen: string): void {
    const { ownership, copy } = log
    if (!ownership || !copy) return
    const ballot = nextBallot(
      latest(log.promised, log.hint.ballot),
      this.#context.environment.now(),
      this.#id,
    )
    const { holders, followers, replica, undropped } = ownership
    for (const id of undropped ?? []) holders.add(id)
    if (replica !== '') holders.add(replica)
    const newest = latest(copy.epoch, seen)
    this.#context.logs.setCopy(log, this.#begin(log, ballot, newest, 0))
    log.promised = ballot
    this.#replication.own(log, ballot, holders, followers)
  }

  /** Forgets a log without entries, here and at the replica. */
  forget(log: Log): void {
    const { ownership, copy } = log
    if (ownership?.state !== 'active' || !copy?.isEmpty || !isSettled(ownership)) return
    const { logs } = this.#context
    const { ballot, epoch } = copy
    const drop = { kind: 'drop', log: log.name, ballot } as const
    if (ownership.replica !== '') this.#context.send(ownership.replica, drop)
    logs.forgotten = Math.max(logs.forgotten, timeOf(epoch))
    logs.setCopy(log, null)
    log.ownership = null
  }

  publish(log: Log, via: string, message: Publish): void {
    const { ownership, copy } = log
    if (ownership?.state !== 'active' || !copy) return
    const { series, n, from, known } = message
    if (message.epoch !== copy.epoch) {
      this.#context.send(via, { kind: 'reset', log: log.name, epoch: copy.epoch })
      return
    }
    const source = copy.sources.get(from)
    if (source && source.series > series) return
    const isSame = source?.series === series
    if (isSame) {
      source.via = via
      source.spots = source.spots.filter((spot) => spot.n > known)
    }
    // An owner that has forgotten a quiet publisher goes on after what the publisher knows to be recorded.
    const last = isSame ? source.n : known
    if (n <= last) this.#again(log, copy, message, via)
    if (n !== last + 1 || (isSame && source.spots.length >= MOST_SPOTS)) return
    if (this.#isBehind(ownership, copy)) return
    const { key, count, payload } = message
    const { seq, offset, key: previous } = copy.last
    const place = {
      seq: seq + 1,
      offset: offset + count,
      previous,
      at: this.#context.environment.now(),
    }
    const entry: Kept = { key, count, payload, ...place, from, via, series, n, known }
    copy.add(entry)
    this.#context.grown(log)
    const { ballot, done } = copy
    const { replica } = ownership
    if (replica !== '') {
      const about = { log: log.name, ballot, entry, done: done.seq }
      this.#context.send(replica, { kind: 'replicate', ...about })
    }
    this.#replication.commit(log, ownership)
  }

  get #id(): string {
    return this.#context.environment.id
  }

  #begin(log: Log, ballot: string, newest: string, forgotten: number): Copy {
    const lost = latest(newest, log.wanted.after)
    const now = this.#context.environment.now()
    const epoch = nextEpoch(lost, now, this.#context.environment.random())
    return Copy.begin(epoch, ballot, Math.max(timeOf(lost), forgotten), now)
  }

  /** An entry arrived again. It is acknowledged again if it is committed. */
  #again(log: Log, copy: Copy, { from, series, n }: Publish, via: string): void {
    const spot = copy.sources.get(from)?.spots.find((one) => one.n === n)
    if (!spot || spot.seq > copy.done.seq) return
    const about = { log: log.name, epoch: copy.epoch, series, n }
    this.#context.send(via, { kind: 'done', ...about, offsets: [spot.offset] })
  }

  /** Whether the replica takes entries more slowly than they arrive. */
  #isBehind({ replica }: Ownership, copy: Copy): boolean {
    if (replica === '') return false
    return copy.uncommitted > MOST_UNCOMMITTED || this.#context.environment.isFull(replica)
  }
}
