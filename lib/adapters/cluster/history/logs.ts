// The logs that one instance knows, and the bound of their memory.

import { type HistoryLimits, REMEMBERED } from '../../../history/store.ts'
import { latest } from './ballot.ts'
import { type Copy, LOG_SIZE } from './copy.ts'
import { Log } from './log.ts'

/** How long an idle log is kept, in milliseconds: its ballots are then too old to matter. */
const IDLE = 60_000
/** Above this number, idle logs are forgotten at once. */
const MOST = 100_000
/** The share of all memory for logs without entries. */
const MOST_EMPTY = 0.25

/** The logs that one instance knows. The least recently used are trimmed first. */
export class Logs {
  /** A time: logs that are not known, and began up to then, may have been forgotten. */
  forgotten = 0
  /** A number for the next log that this instance publishes to. */
  series = 0
  readonly #limits: HistoryLimits
  readonly #remembered: number
  readonly #logs = new Map<string, Log>()
  /** The sizes of copies with entries, by the time of the last entry. */
  readonly #filled = new Map<Log, number>()
  /** Logs with a copy without entries. */
  readonly #empty = new Set<Log>()
  #size = 0
  /** The latest ballot of the logs that are no longer known. */
  #floor = ''

  /** @param remembered how long a log without entries is kept, in milliseconds */
  constructor(limits: HistoryLimits, remembered: number = REMEMBERED) {
    this.#limits = limits
    this.#remembered = remembered
  }

  get isCrowded(): boolean {
    return this.#logs.size > MOST
  }

  /** Whether no log has its only copy here. */
  get areSecure(): boolean {
    return this.all().every(({ isSecure }) => isSecure)
  }

  /** Whether nothing is here that another instance could take. */
  get areHandedOver(): boolean {
    return this.all().every(({ copy, claim, out }) => !copy && !claim && out.length === 0)
  }

  all(): Log[] {
    return [...this.#logs.values()]
  }

  find(name: string): Log | undefined {
    return this.#logs.get(name)
  }

  get(name: string, now: number): Log {
    let log = this.#logs.get(name)
    if (!log) {
      log = new Log(name, ++this.series, this.#floor, now)
      this.#logs.set(name, log)
    }
    log.used = now
    return log
  }

  /** Adds a log that publishes with the numbers of a former one. */
  adopt({ name, series, n, outEpoch, used }: Log): Log {
    const log = new Log(name, series, this.#floor, used)
    Object.assign(log, { n, outEpoch })
    this.#logs.set(name, log)
    return log
  }

  setCopy(log: Log, copy: Copy | null): void {
    this.#uncount(log)
    log.copy = copy
    if (copy) this.#count(log, copy)
  }

  /**
   * A copy has grown: trims copies until all together fit.
   *
   * @param most the bound of all copies here, in bytes
   * @returns owned logs without entries that take too much room
   */
  grown(log: Log, most: number): Log[] {
    this.#uncount(log)
    if (log.copy) this.#count(log, log.copy)
    for (const oldest of this.#filled.keys()) {
      if (this.#size <= most) break
      while (this.#size > most && oldest.copy?.trim()) this.#resize(oldest, oldest.copy)
    }
    const forgotten: Log[] = []
    let size = this.#empty.size * LOG_SIZE
    for (const oldest of this.#empty) {
      if (size <= most * MOST_EMPTY) break
      size -= LOG_SIZE
      this.#uncount(oldest) // the owner of a replica counts it
      if (oldest.ownership && oldest !== log) forgotten.push(oldest)
    }
    return forgotten
  }

  /** Removes what is too old. @returns owned logs to forget, because their last message is too long ago */
  sweep(now: number): Log[] {
    const old: Log[] = []
    for (const log of this.#logs.values()) {
      const { copy } = log
      if (copy) {
        copy.expire(now, this.#limits.ttl)
        this.#resize(log, copy)
        if (log.ownership && copy.isEmpty && now - copy.at >= this.#remembered) old.push(log)
      } else if (log.isIdle && (now - log.used >= IDLE || this.isCrowded)) {
        this.#floor = latest(this.#floor, latest(log.promised, log.hint.ballot))
        this.#logs.delete(log.name)
      }
    }
    return old
  }

  /** The log becomes the most recently used. */
  #count(log: Log, copy: Copy): void {
    if (copy.isEmpty) this.#empty.add(log)
    else this.#filled.set(log, copy.size)
    this.#size += copy.size
  }

  #resize(log: Log, copy: Copy): void {
    const before = this.#filled.get(log)
    if (before === undefined) return
    this.#size += copy.size - before
    if (copy.isEmpty) {
      this.#filled.delete(log)
      this.#empty.add(log)
    } else this.#filled.set(log, copy.size)
  }

  #uncount(log: Log): void {
    this.#size -= this.#filled.get(log) ?? 0
    this.#filled.delete(log)
    if (this.#empty.delete(log)) this.#size -= LOG_SIZE
  }
}
