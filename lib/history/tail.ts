// The tail of one log on this instance: the entries in order, without holes, or word that some are missing.

import { debugBackplane, messageOf } from '../debug.ts'
import type { Unrecovered } from '../protocol/history.ts'
import { isThenable } from '../thenable.ts'
import { isNowhere } from './place.ts'
import { Ring, type RingSizes } from './ring.ts'
import type { Entry, HistoryLimits, HistoryStore, Place, Reading } from './store.ts'

/** The most bytes that are kept while a log is not followed yet. */
const MOST_EARLY = 4 * 1024 * 1024

/** What a tail tells its follower. */
export interface TailOwner {
  /** The log is followed from now on. */
  began(): void
  /** The next entry, which is the new top. */
  appended(epoch: string, entry: Entry): void
  /** Entries are missing: the tail goes on from its new top. */
  restarted(top: Place, reason: Unrecovered): void
}

/** What arrived before the log was followed. */
interface Early {
  readonly epoch: string
  readonly entries: readonly Entry[]
}

/** The tail of one log: it follows the store, fills holes, and finds out when the store has forgotten what it had. */
export class Tail {
  readonly #log: string
  readonly #store: HistoryStore
  readonly #owner: TailOwner
  /** Null where the store is as near as a ring. */
  readonly #ring: Ring | null
  #top: Place | null = null
  /** The latest place of a log that does not exist. */
  #early: Early[] = []
  #earlyBytes = 0
  #looking: Promise<boolean> | null = null
  #looksAgain = false
  #isOver = false

  constructor(
    log: string,
    store: HistoryStore,
    limits: HistoryLimits,
    owner: TailOwner,
    sizes?: RingSizes,
  ) {
    this.#log = log
    this.#store = store
    this.#owner = owner
    this.#ring = store.local ? null : new Ring(limits, sizes)
  }

  /** The place of the last entry; null until the log is followed. */
  get top(): Place | null {
    return this.#top
  }

  /** The same for a member that joins now: the place of a log that does not exist is good for a day only. */
  get topNow(): Place | null {
    if (!this.#top || !isNowhere(this.#top) || !this.#store.local) return this.#top
    const now = this.#store.top(this.#log)
    return isThenable(now) || !isNowhere(now) ? this.#top : now
  }

  /** Follows the log. Returns a promise, which never rejects, where that takes time. */
  begin(): Promise<unknown> | undefined {
    const store = this.#store
    if (!store.local) return this.look()
    void store.follow(this.#log)
    const top = store.top(this.#log)
    if (!isThenable(top)) this.#began(top)
    return undefined
  }

  end(): void {
    this.#isOver = true
    this.#ring?.clear()
    this.#store.unfollow(this.#log)
  }

  /** Entries of the log have arrived. */
  recorded(epoch: string, entries: readonly Entry[]): void {
    if (this.#top) for (const entry of entries) this.take(epoch, entry)
    else this.#keepEarly(epoch, entries)
  }

  /** Takes an entry, wherever it comes from. */
  take(epoch: string, entry: Entry): void {
    const top = this.#top
    if (!top) return
    const first = entry.offset - entry.count
    const isBirth = isNowhere(top) && first === 0 && entry.previous === ''
    if (isBirth && epoch >= top.epoch) this.#append(epoch, entry)
    // Also with an older epoch: it is late, or the clock of the engine went back.
    else if (epoch !== top.epoch || first > top.offset) void this.look()
    else if (first === top.offset) {
      if (entry.previous === top.key) this.#append(epoch, entry)
      else void this.forked()
    } else if (entry.offset === top.offset && entry.key !== top.key) void this.forked()
  }

  /**
   * Looks whether the log has more than was heard: after a cut, and from time to time. Resolves to whether the store
   * has answered. Never rejects.
   */
  look(): Promise<boolean> {
    // What is under way may have asked too early, or over a connection that is gone.
    if (this.#looking !== null) this.#looksAgain = true
    this.#ring?.expire()
    this.#looking ??= this.#lookOn()
    return this.#looking
  }

  /**
   * Resolves when the log can go on after an outage: it holds what was heard here, so far as its top shows, or has begun
   * anew. A look may have much to read, so it is awaited only if the top does not fit. Never rejects.
   */
  async ready(): Promise<void> {
    const seen = this.#top
    if (!seen) return
    try {
      const { epoch, offset, key } = await this.#store.top(this.#log)
      if (epoch === seen.epoch && (offset > seen.offset || key === seen.key)) return
    } catch {} // the look asks again
    await this.look()
  }

  async #lookOn(): Promise<boolean> {
    let hasAnswered = false
    do {
      this.#looksAgain = false
      try {
        if (this.#isOver) return false
        const top = this.#top
        if (top) await this.#heal(await this.#store.read(this.#log, top), top)
        else await this.#follow()
        hasAnswered = true
      } catch (error) {
        hasAnswered = false
        debugBackplane('the history of %s cannot be read: %s', this.#log, messageOf(error))
      }
    } while (this.#looksAgain)
    this.#looking = null // in the same turn as the condition: a later call must not be lost
    return hasAnswered
  }

  /**
   * Asks for the top first, so that what this instance records after a join comes after it. What was recorded until
   * the subscription held is read.
   */
  async #follow(): Promise<void> {
    const [from] = await Promise.all([this.#store.top(this.#log), this.#store.follow(this.#log)])
    const reading = await this.#store.read(this.#log, from)
    if (this.#isOver || this.#top) return
    if ('entries' in reading) this.#began(from, [{ epoch: reading.top.epoch, ...reading }])
    else this.#began(reading.top)
  }

  /** What was seen here is not what the store holds: the epoch ends, unless the store says otherwise. Never rejects. */
  async forked(): Promise<void> {
    try {
      if (this.#top) await this.#fork(this.#top)
    } catch (error) {
      debugBackplane('the history of %s cannot be renewed: %s', this.#log, messageOf(error))
    }
  }

  /** Returns the entries after a place, up to the top; null where they are not at hand, or the place does not fit. */
  after(since: Place): readonly Entry[] | null {
    const top = this.#top
    const now = this.topNow
    if (top && now && isNowhere(top) && isNowhere(since)) {
      // The log existed before, perhaps, and its messages are gone: the store knows how far it can tell.
      return since.epoch >= top.epoch && since.epoch <= now.epoch ? [] : null
    }
    if (!top || since.epoch !== top.epoch) return null
    if (since.offset === top.offset) return since.key === top.key ? [] : null
    if (this.#ring) return this.#ring.after(since)
    const reading = this.#store.read(this.#log, since)
    if (isThenable(reading) || 'missing' in reading) return null
    // What was recorded while an entry is given out comes to all members afterwards.
    return reading.entries.filter(({ offset }) => offset <= top.offset)
  }

  /** Starts anew at a place that the store has given. */
  restart(top: Place, reason: Unrecovered): void {
    this.#top = top
    this.#ring?.clear()
    this.#owner.restarted(top, reason)
  }

  /** @param read what was recorded between `top` and the subscription */
  #began(top: Place, read: readonly Early[] = []): void {
    this.#top = top
    const early = [...read, ...this.#early]
    this.#early = []
    this.#owner.began()
    for (const { epoch, entries } of early) for (const entry of entries) this.take(epoch, entry)
  }

  /** What does not fit is read when the log is followed. */
  #keepEarly(epoch: string, entries: readonly Entry[]): void {
    for (const { payload } of entries) this.#earlyBytes += payload.length
    if (this.#earlyBytes <= MOST_EARLY) this.#early.push({ epoch, entries })
  }

  #append(epoch: string, entry: Entry): void {
    this.#top = { epoch, offset: entry.offset, key: entry.key }
    this.#ring?.add(entry)
    this.#owner.appended(epoch, entry)
  }

  /**
   * Fills a hole with what the store has, or tells that it cannot be filled.
   *
   * @param asked the top when the store was asked
   */
  async #heal(reading: Reading, asked: Place): Promise<void> {
    const top = this.#top
    if (!top || this.#isOver) return
    if ('entries' in reading) {
      // By the clock of the engine: `look()` comes from time to time.
      if (isNowhere(top) && isNowhere(reading.top)) this.#top = reading.top
      for (const entry of reading.entries) this.take(reading.top.epoch, entry)
      return
    }
    const { missing, top: theirs } = reading
    if (theirs.epoch < top.epoch) {
      // The clock of the engine went back, or it has older data.
      if (!isNowhere(top)) await this.forked()
      else if (top === asked && !isNowhere(theirs)) this.restart(theirs, 'epoch')
    } else if (theirs.epoch > top.epoch) await this.#beginAnew(theirs, top, 'epoch')
    else if (missing === 'epoch' || missing === 'ahead') await this.forked()
    else if (theirs.offset > top.offset) this.restart(theirs, missing)
  }

  async #fork(seen: Place): Promise<void> {
    await this.#store.renew(this.#log, seen)
    const reading = await this.#store.read(this.#log, seen)
    if (this.#isOver || this.#top !== seen) return
    if ('entries' in reading) await this.#heal(reading, seen)
    else if (reading.top.epoch > seen.epoch) {
      await this.#beginAnew(reading.top, seen, reading.missing)
    }
    // Not renewed, but what was seen here is gone. A store that keeps an older epoch is not asked again and again.
    else if (reading.top.epoch === seen.epoch) this.restart(reading.top, reading.missing)
  }

  /**
   * Goes on in a later epoch. It began after everything that was seen here, so that its entries are new to all members.
   * Most of them waited in the outage in which the engine lost the earlier epoch.
   */
  async #beginAnew(theirs: Place, seen: Place, reason: Unrecovered): Promise<void> {
    const start = { epoch: theirs.epoch, offset: 0, key: '' }
    const isEmpty = theirs.offset === 0
    const reading = isEmpty ? null : await this.#store.read(this.#log, start)
    if (this.#isOver) return
    if (this.#top !== seen)
      void this.look() // something else has arrived meanwhile
    else if (reading && 'missing' in reading) this.restart(reading.top, reason)
    else {
      this.restart(start, reason)
      for (const entry of reading?.entries ?? []) this.take(start.epoch, entry)
    }
  }
}
