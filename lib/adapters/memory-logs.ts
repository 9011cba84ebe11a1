// The logs of `memoryHistory()`, their expiry, and the bound of all together.

import { isNowhere, isUnborn, nowhere, timeOf } from '../history/place.ts'
import {
  type Entry,
  type HistoryLimits,
  type NewEntry,
  type Place,
  REMEMBERED,
  type Reading,
} from '../history/store.ts'
import { newEpoch } from './epoch.ts'
import { LEAST_SIZE, MemoryLog } from './memory-log.ts'

/** The times of a history. A test replaces them. */
export interface HistoryClock {
  /** Milliseconds that never go back. */
  elapsed(): number
  /** Epoch milliseconds. */
  date(): number
  /** Runs a function after a delay, without keeping the process alive. Returns a function that cancels it. */
  after(delay: number, run: () => void): () => void
}

/** The longest delay of a Node timer, in milliseconds. */
const LONGEST = 2 ** 31 - 1
/** When `maxTotal` is passed, logs without entries and followers keep at most this part of it. */
const IDLE_PART = 1 / 4

/** All logs of a history. */
export class MemoryLogs {
  readonly #clock: HistoryClock
  readonly #isFollowed: (name: string) => boolean
  readonly #logs = new Map<string, MemoryLog>()
  /** The logs with entries. The log that was recorded to longest ago is the first. */
  readonly #kept = new Set<MemoryLog>()
  /** The logs without entries and followers, and since when, oldest first. */
  readonly #idle = new Map<MemoryLog, number>()
  #limits: HistoryLimits = { messages: 0, bytes: 0, ttl: 0, maxTotal: 0 }
  /** The size of all logs, in bytes. */
  #total = 0
  /** The last time that was used in an epoch. */
  #time: number
  /** No log that is forgotten was born after this time: logs that do not exist can be judged from then on. */
  #judgedAfter: number
  #isOpen = false
  #timer: { readonly due: number; cancel(): void } | null = null

  constructor(clock: HistoryClock, isFollowed: (name: string) => boolean) {
    this.#clock = clock
    this.#isFollowed = isFollowed
    this.#time = Math.floor(clock.date())
    // An earlier process may have had logs that are unknown here.
    this.#judgedAfter = this.#time - 1
  }

  get limits(): HistoryLimits {
    return this.#limits
  }

  /** Starts to remove what expires, and removes what exceeds the limits. */
  open(limits: HistoryLimits): void {
    this.#isOpen = true
    this.#limits = { ...limits }
    for (const log of [...this.#kept]) {
      this.#resize(log, () => log.trim(limits))
      if (log.isEmpty) this.#sort(log)
    }
    this.#shrink()
    this.#arm()
  }

  /** Stops the timer. The logs stay. */
  close(): void {
    this.#isOpen = false
    this.#timer?.cancel()
    this.#timer = null
  }

  /** Records an entry. If it is kept already, or is the last one, `entry` is null. */
  record(name: string, given: NewEntry): { readonly place: Place; readonly entry: Entry | null } {
    const now = this.#clock.elapsed()
    const log = this.#current(name, now) ?? this.#create(name, newEpoch(this.#date()))
    const before = log.placeOf(given.key)
    if (before) return { place: before, entry: null }
    this.#total -= log.size
    const entry = log.add(given, now)
    log.trim(this.#limits)
    this.#total += log.size
    const place = log.top
    this.#sort(log)
    this.#shrink()
    this.#arm(now)
    return { place, entry }
  }

  read(name: string, since: Place | null): Reading {
    const log = this.#current(name)
    if (since === null) return log ? log.readAll() : { top: this.top(name), entries: [] }
    if (log && since.epoch === log.epoch) return log.read(since.offset, since.key)
    if (!this.#isBefore(log, since)) return { top: this.top(name), missing: 'epoch' }
    return log ? log.read(0, '') : { top: this.top(name), entries: [] }
  }

  top(name: string): Place {
    return this.#logs.get(name)?.top ?? nowhere(this.#date())
  }

  renew(name: string, seen: Place): void {
    const log = this.#current(name)
    if (!log && isUnborn(seen.epoch)) return
    if (log && log.epoch > seen.epoch) return
    if (log?.epoch === seen.epoch && log.mayHave(seen.offset, seen.key)) return
    const after = Math.max(timeOf(seen.epoch), log?.birth ?? 0)
    if (log) this.#remove(log)
    this.#sort(this.#create(name, newEpoch(Math.max(this.#date(), after + 1)), true))
    this.#shrink()
    this.#arm()
  }

  /** A log has its first follower. */
  followed(name: string): void {
    const log = this.#logs.get(name)
    if (log) this.#idle.delete(log)
    this.#arm()
  }

  /** A log has lost its last follower. */
  unfollowed(name: string): void {
    const log = this.#logs.get(name)
    if (log?.isEmpty) this.#sort(log)
    this.#arm()
  }

  /** Returns a log without the entries that have expired. */
  #current(name: string, now: number = this.#clock.elapsed()): MemoryLog | undefined {
    const log = this.#logs.get(name)
    if (log && log.first + this.#limits.ttl <= now) {
      this.#expire(log, now)
      this.#arm(now)
    }
    return log
  }

  #create(name: string, epoch: string, renewed = false): MemoryLog {
    const log = new MemoryLog(name, epoch, renewed)
    this.#logs.set(name, log)
    this.#total += log.size
    return log
  }

  #remove(log: MemoryLog): void {
    this.#logs.delete(log.name)
    this.#kept.delete(log)
    this.#idle.delete(log)
    this.#total -= log.size
  }

  /** Forgets a log. Places from before its birth are refused from now on, and its next epoch sorts after this one. */
  #forget(log: MemoryLog): void {
    this.#remove(log)
    this.#judgedAfter = Math.max(this.#judgedAfter, log.birth)
  }

  /** Returns the time for an epoch: later than the birth of each log that is forgotten. */
  #date(): number {
    this.#time = Math.max(this.#time, Math.floor(this.#clock.date()), this.#judgedAfter + 1)
    return this.#time
  }

  /** Returns whether a place was given before a log was born, and nothing recorded since is forgotten. */
  #isBefore(log: MemoryLog | undefined, place: Place): boolean {
    if (!isNowhere(place)) return false
    const time = timeOf(place.epoch)
    const now = this.#date()
    if (time <= this.#judgedAfter || time > now || now - time >= REMEMBERED) return false
    return !log || (!log.renewed && time <= log.birth)
  }

  #expire(log: MemoryLog, now: number): void {
    this.#resize(log, () => log.expire(now - this.#limits.ttl))
    if (log.isEmpty) this.#sort(log)
  }

  /** Changes the entries of a log, and counts the difference. */
  #resize<T>(log: MemoryLog, change: () => T): T {
    this.#total -= log.size
    const result = change()
    this.#total += log.size
    return result
  }

  /** Puts a log at the end of the list that it belongs to. A followed log without entries is in no list. */
  #sort(log: MemoryLog): void {
    this.#kept.delete(log)
    this.#idle.delete(log)
    if (!log.isEmpty) this.#kept.add(log)
    else if (!this.#isFollowed(log.name)) this.#idle.set(log, this.#clock.elapsed())
  }

  /** Removes what exceeds `maxTotal`. */
  #shrink(): void {
    const { maxTotal } = this.#limits
    while (this.#total > maxTotal) {
      const [idle] = this.#idle.keys()
      const [kept] = this.#kept
      const isMuch = this.#idle.size * LEAST_SIZE > maxTotal * IDLE_PART
      if (idle && (isMuch || !kept)) this.#forget(idle)
      else if (kept) this.#removeFirst(kept)
      else return
    }
  }

  #removeFirst(log: MemoryLog): void {
    this.#resize(log, () => log.removeFirst('trimmed'))
    if (log.isEmpty) this.#sort(log)
  }

  /** Starts the timer, unless it fires soon enough. A log that changes now is due after `ttl` at the earliest. */
  #arm(now: number = this.#clock.elapsed()): void {
    const isNeeded = this.#isOpen && this.#kept.size + this.#idle.size > 0
    const latest = now + Math.min(this.#limits.ttl, REMEMBERED)
    if (isNeeded && this.#timer && this.#timer.due <= latest) return
    this.#timer?.cancel()
    this.#timer = null
    if (!isNeeded) return
    const due = this.#due()
    const cancel = this.#clock.after(Math.min(LONGEST, Math.max(1, Math.ceil(due - now))), () => {
      this.#timer = null
      this.#sweep()
      this.#arm()
    })
    this.#timer = { due, cancel }
  }

  /** Returns when the next log expires. */
  #due(): number {
    const [kept] = this.#kept
    const [idle] = this.#idle.values()
    return Math.min(
      kept ? kept.last + this.#limits.ttl : Number.POSITIVE_INFINITY,
      idle === undefined ? Number.POSITIVE_INFINITY : idle + REMEMBERED,
    )
  }

  /** Releases logs that were not recorded to for `ttl`; other old entries go on use. */
  #sweep(): void {
    const now = this.#clock.elapsed()
    for (const log of this.#kept) {
      if (log.last + this.#limits.ttl > now) break
      this.#expire(log, now)
    }
    for (const [log, since] of this.#idle) {
      if (since + REMEMBERED > now) break
      this.#forget(log)
    }
  }
}
