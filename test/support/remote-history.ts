import { AdapterError } from '../../lib/errors.ts'
import { holds, isNowhere, nowhere } from '../../lib/history/place.ts'
import type {
  Entry,
  HistoryEvents,
  HistoryLimits,
  HistoryStore,
  NewEntry,
  OpenHistory,
  Place,
  Reading,
} from '../../lib/history/store.ts'

/** One log of the engine. */
interface Log {
  epoch: string
  entries: Entry[]
  top: Place
}

/** What was recorded at an offset of an epoch, whether or not it was lost later. */
export type Known = ReadonlyMap<string, ReadonlySet<string>>

let births = 0

/**
 * A history engine outside of the hubs, in the memory of the test. Everything takes a moment, and it can
 * be cut from a hub, lose the tail of a log, or a whole log.
 */
export class RemoteEngine {
  readonly stores: Map<string, RemoteStore> = new Map()
  /** The keys that were recorded at `<log> <epoch> <offset>`. */
  readonly known: Map<string, Set<string>> = new Map()
  /** `<log> <key>` of the entries that were lost. */
  readonly lost: Set<string> = new Set()
  readonly delay: () => number
  readonly #logs = new Map<string, Log>()
  readonly #keys = new Set<string>()
  #limits: HistoryLimits | null = null

  /** @param delay returns how long the next step takes, in milliseconds */
  constructor(delay: () => number = () => 0) {
    this.delay = delay
  }

  /** Opens a store, as the capability of an adapter. */
  readonly open: OpenHistory = (id, limits, events) => {
    this.#limits = limits
    const store = new RemoteStore(this, events)
    this.stores.set(id, store)
    return store
  }

  append(name: string, given: NewEntry): Place {
    const log = this.#logs.get(name) ?? newLog()
    if (this.#keys.has(`${name} ${given.key}`)) return log.top // repeated after an unknown outcome
    this.#keys.add(`${name} ${given.key}`)
    this.#logs.set(name, log)
    const entry = { ...given, offset: log.top.offset + given.count, previous: log.top.key }
    log.entries.push(entry)
    log.top = { epoch: log.epoch, offset: entry.offset, key: entry.key }
    for (let offset = entry.offset; offset > entry.offset - entry.count; offset--) {
      const place = `${name} ${log.epoch} ${offset}`
      this.known.set(place, (this.known.get(place) ?? new Set()).add(entry.key))
    }
    const { messages = Infinity } = this.#limits ?? {}
    while (log.entries.reduce((sum, { count }) => sum + count, 0) > messages) log.entries.shift()
    for (const store of this.stores.values()) store.deliver(name, log.epoch, entry)
    return log.top
  }

  read(name: string, since: Place | null): Reading {
    const log = this.#logs.get(name)
    if (!log) {
      const top = nowhere(Date.now())
      return !since || isNowhere(since) ? { top, entries: [] } : { top, missing: 'epoch' }
    }
    const { top, entries } = log
    if (!since) return { top, entries: [...entries] }
    if (isNowhere(since)) {
      const isWhole = since.epoch <= log.epoch && entries[0]?.previous === ''
      return isWhole || entries.length === 0
        ? { top, entries: [...entries] }
        : { top, missing: 'trimmed' }
    }
    if (since.epoch !== log.epoch) return { top, missing: 'epoch' }
    if (since.offset > top.offset) return { top, missing: 'ahead' }
    if (since.offset === top.offset) {
      return since.key === top.key ? { top, entries: [] } : { top, missing: 'epoch' }
    }
    const first = entries[0]
    if (!first) return { top, missing: 'trimmed' }
    const floor = first.offset - first.count
    if (since.offset < floor) return { top, missing: 'trimmed' }
    if (since.offset === floor) {
      return first.previous === since.key
        ? { top, entries: [...entries] }
        : { top, missing: 'epoch' }
    }
    const at = entries.findIndex(({ offset }) => offset >= since.offset)
    const entry = entries[at] as Entry
    if (!holds(entry, since)) return { top, missing: 'epoch' }
    return { top, entries: entries.slice(entry.offset === since.offset ? at + 1 : at) }
  }

  top(name: string): Place {
    return this.#logs.get(name)?.top ?? nowhere(Date.now())
  }

  renew(name: string, seen: Place): void {
    const log = this.#logs.get(name)
    if (log && log.epoch !== seen.epoch) return
    if (log && !('missing' in this.read(name, seen))) return
    if (log && seen.offset < (log.entries[0]?.offset ?? 0)) return // trimmed: it cannot be told
    this.#logs.set(name, newLog())
  }

  /** Loses the last entries of a log, as a failover does. */
  loseTail(name: string, count: number): void {
    const log = this.#logs.get(name)
    if (!log) return
    const lost = log.entries.splice(Math.max(0, log.entries.length - count))
    const [first] = lost
    if (!first) return
    for (const { key } of lost) this.#forget(name, key)
    if (log.entries.length === 0 && first.previous !== '') {
      this.#logs.delete(name)
      return
    }
    log.top = {
      epoch: log.epoch,
      offset: first.offset - first.count,
      key: first.previous,
    }
  }

  /** A publisher that does not know the outcome records it again. */
  #forget(name: string, key: string): void {
    this.#keys.delete(`${name} ${key}`)
    this.lost.add(`${name} ${key}`)
  }

  /** Loses a whole log. */
  lose(name: string): void {
    for (const { key } of this.#logs.get(name)?.entries ?? []) this.#forget(name, key)
    this.#logs.delete(name)
  }
}

/** The store of one hub. */
export class RemoteStore implements HistoryStore {
  readonly local = false
  readonly #engine: RemoteEngine
  readonly #events: HistoryEvents
  readonly #followed = new Set<string>()
  #isUp = false
  #isClosed = false
  #connection = 0
  /** When the last entry arrives, and when the last append is under way, so that each keeps its order. */
  #inbound: Promise<void> = Promise.resolve()
  #outbound: Promise<void> = Promise.resolve()

  constructor(engine: RemoteEngine, events: HistoryEvents) {
    this.#engine = engine
    this.#events = events
    setImmediate(() => this.heal())
  }

  get isUp(): boolean {
    return this.#isUp
  }

  cut(): void {
    if (!this.#isUp) return
    this.#isUp = false
    this.#connection++
    this.#events.down(new Error('cut'))
  }

  heal(): void {
    if (this.#isUp || this.#isClosed) return
    this.#isUp = true
    this.#connection++
    this.#events.up()
  }

  deliver(log: string, epoch: string, entry: Entry): void {
    if (!this.#followed.has(log) || !this.#isUp) return
    const connection = this.#connection
    this.#inbound = this.#inbound.then(async () => {
      await this.#pause()
      if (connection === this.#connection && this.#followed.has(log)) {
        this.#events.recorded(log, epoch, [entry])
      }
    })
  }

  append(log: string, entry: NewEntry): Promise<Place> {
    const connection = this.#connection
    if (!this.#isUp) return Promise.reject(unknown())
    const arrived = this.#outbound.then(async () => {
      await this.#pause()
      if (connection !== this.#connection) throw unknown() // lost on the way
      return this.#engine.append(log, entry)
    })
    this.#outbound = arrived.then(ignore, ignore)
    return arrived.then(async (place) => {
      await this.#pause()
      if (connection !== this.#connection) throw unknown() // the answer was lost
      return place
    })
  }

  read(log: string, since: Place | null): Promise<Reading> {
    return this.#ask(() => this.#engine.read(log, since))
  }

  top(log: string): Promise<Place> {
    return this.#ask(() => this.#engine.top(log))
  }

  async follow(log: string): Promise<void> {
    await this.#ask(() => this.#followed.add(log))
  }

  unfollow(log: string): void {
    this.#followed.delete(log)
  }

  async renew(log: string, seen: Place): Promise<void> {
    await this.#ask(() => this.#engine.renew(log, seen))
  }

  close(): void {
    this.#isClosed = true
    this.#isUp = false
    this.#connection++
  }

  async #ask<T>(question: () => T): Promise<T> {
    const connection = this.#connection
    if (!this.#isUp) throw unknown()
    await this.#pause()
    if (connection !== this.#connection) throw unknown()
    const answer = question()
    await this.#pause()
    if (connection !== this.#connection) throw unknown()
    return answer
  }

  #pause(): Promise<void> {
    const ms = this.#engine.delay()
    return new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)))
  }
}

function newLog(): Log {
  const epoch = `${nowhere(Date.now()).epoch}${String(births++).padStart(8, '0')}`
  return { epoch, entries: [], top: { epoch, offset: 0, key: '' } }
}

function unknown(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'the outcome is unknown')
}

function ignore(): void {}
