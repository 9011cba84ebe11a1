import type { Schedule } from './schedule.ts'
import {
  type Answer,
  type At,
  beyond,
  type Flaw,
  isUnborn,
  keyAt,
  messagesOf,
  type Recorded,
  type Said,
} from './types.ts'

interface Log {
  readonly epoch: number
  /** Whether the room existed before this epoch. */
  readonly isRenewed: boolean
  entries: Recorded[]
  offset: number
  key: number
  /** The end of the last entry that was removed. */
  floor: number
}

/** The record of all rooms: one order, exact trimming. It may lose a tail, as in a failover, or everything. */
export class Store {
  /** The previous key of every message that was ever recorded, with its place, for the judge. */
  readonly all = new Map<string, { readonly previous: number; readonly said: Said }>()
  /** Whether something recorded was lost, other than by trimming. */
  hasLost = false
  renewals = 0
  readonly #schedule: Schedule
  readonly #most: number
  readonly #flaw: Flaw | null
  readonly #logs = new Map<string, Log>()
  /** The epochs of each room, with messages. */
  readonly #epochs = new Map<string, Set<number>>()
  /** Epochs of rooms that were lost altogether, so that the store cannot know the epoch before. */
  readonly #unaware = new Set<number>()
  readonly #lost = new Set<string>()
  #keys = 0
  #time = 0

  constructor(schedule: Schedule, most: number, flaw: Flaw | null) {
    this.#schedule = schedule
    this.#most = most
    this.#flaw = flaw
  }

  top(room: string): At {
    const log = this.#logs.get(room)
    if (!log) return { epoch: this.#now(), offset: 0, key: -1 }
    const { epoch, offset, key } = log
    return { epoch, offset, key }
  }

  record(room: string, said: readonly Said[]): Recorded {
    const log = this.#logs.get(room) ?? this.#create(room, false)
    const previous = log.key
    log.offset += said.length
    log.key = ++this.#keys
    const entry = { room, epoch: log.epoch, offset: log.offset, key: log.key, previous, said }
    log.entries.push(entry)
    while (log.offset - log.floor > this.#most) log.floor = (log.entries.shift() as Recorded).offset
    for (const message of messagesOf(entry)) this.all.set(nameOf(room, message), message)
    this.#epochs.set(room, (this.#epochs.get(room) ?? new Set()).add(log.epoch))
    return entry
  }

  /** The answer holds for one moment. */
  read(room: string, since: At): Answer {
    const log = this.#logs.get(room)
    const top = this.top(room)
    if (since.epoch !== log?.epoch) {
      if (!isUnborn(since)) return { top, missing: 'epoch' }
      if (!log) return { top, entries: [] }
      const isNew = !log.isRenewed || this.#flaw === 'renewed as new'
      if (!isNew || since.epoch > log.epoch) return { top, missing: 'epoch' }
      return log.floor > 0 ? { top, missing: 'trimmed' } : { top, entries: [...log.entries] }
    }
    if (since.offset > log.offset) return { top, missing: 'ahead' }
    if (since.offset < log.floor) return { top, missing: 'trimmed' }
    if (keyAt(log.entries, log, since.offset) !== since.key && this.#flaw !== 'no keys') {
      return { top, missing: 'epoch' }
    }
    return { top, entries: beyond(log.entries, since.offset) }
  }

  /** Begins a new epoch if the room does not have what was seen. What was trimmed cannot be judged. */
  renew(room: string, seen: At): void {
    const log = this.#logs.get(room)
    if (isUnborn(seen) || (log && log.epoch > seen.epoch)) return
    if (log && log.epoch === seen.epoch && seen.offset <= log.offset) {
      const key = keyAt(log.entries, log, seen.offset)
      if (key === undefined || key === seen.key) return
    }
    this.#create(room, true)
    this.renewals++
  }

  /** Loses the last entries of a room, or all of it. */
  lose(room: string): void {
    const log = this.#logs.get(room)
    if (!log) return
    this.hasLost = true
    const lost = Math.min(log.entries.length, 1 + this.#schedule.int(4))
    if (this.#schedule.random() < 0.3 || lost === log.entries.length) {
      this.#logs.delete(room)
      this.#lost.add(room)
      return
    }
    log.entries = log.entries.slice(0, -lost)
    const last = log.entries.at(-1) as Recorded
    log.offset = last.offset
    log.key = last.key
  }

  /** Returns whether a place is before the first entry that is kept. */
  hasTrimmed(room: string, { epoch, offset }: At): boolean {
    const log = this.#logs.get(room)
    return log?.epoch !== epoch || offset < log.floor
  }

  /** Returns whether an epoch is the first one with messages after a time, as far as the store can know. */
  isFirst(room: string, epoch: number, after: number): boolean {
    if (this.#unaware.has(epoch)) return true
    return [...(this.#epochs.get(room) ?? [])].every((one) => one >= epoch || one <= after)
  }

  #create(room: string, isRenewed: boolean): Log {
    const epoch = this.#now() + 1e-6
    this.#time = epoch
    const log = { epoch, isRenewed, entries: [], offset: 0, key: 0, floor: 0 }
    this.#logs.set(room, log)
    if (this.#lost.delete(room) && !isRenewed) this.#unaware.add(epoch)
    return log
  }

  /** Returns the time, later than the last epoch. */
  #now(): number {
    this.#time = Math.max(this.#time + 1e-6, this.#schedule.now)
    return this.#time
  }
}

/** Returns what identifies a message among all. */
export function nameOf(room: string, { epoch, offset, key }: At): string {
  return `${room} ${epoch} ${offset} ${key}`
}
