// Records messages: at once where the store is in this process, else one entry for each log and turn.

import type { MaxQueued } from '../backplane/adapter.ts'
import { isRefusal, SendQueue } from '../backplane/send-queue.ts'
import { Publication } from '../backplane/turn-groups.ts'
import type { RecordResult } from '../connection/audience.ts'
import { newId, newKey } from '../connection/id.ts'
import { flushAtEndOfTurn } from '../connection/turn.ts'
import { toError } from '../errors.ts'
import { isThenable } from '../thenable.ts'
import { partsOf, positionOf } from './place.ts'
import { encodeRecords, type HistoryRecord } from './record.ts'
import type { HistoryStore, NewEntry, Place } from './store.ts'

/** An entry above this many bytes accepts no more messages. */
const LARGEST = 256 * 1024

/** One message on its way into one or more logs. */
export class Recording {
  /** What the backplane would say of it. */
  readonly publication: Publication = new Publication()
  readonly #places: (Place | undefined)[] = []
  readonly #logs: readonly string[]
  #left: number
  #isFailed = false
  #promise: Promise<RecordResult> | null = null
  #resolve: ((result: RecordResult) => void) | null = null

  constructor(logs: readonly string[]) {
    this.#logs = logs
    this.#left = logs.length
  }

  get recorded(): Promise<RecordResult> {
    this.#promise ??= this.#isSettled
      ? Promise.resolve(this.#result())
      : new Promise((resolve) => {
          this.#resolve = resolve
        })
    return this.#promise
  }

  get #isSettled(): boolean {
    return this.#isFailed || this.#left === 0
  }

  /** One log has it; null when it never will. */
  settle(log: string, place: Place | null): void {
    if (this.#isSettled) return
    this.#left--
    if (place) this.#places[this.#logs.indexOf(log)] = place
    else this.#isFailed = true
    if (!this.#isSettled) return
    this.publication.settle(this.#isFailed ? 'failed' : 'sent')
    this.#resolve?.(this.#result())
  }

  /** Made when it is asked for: most applications do not. */
  #result(): RecordResult {
    if (this.#isFailed) return 'failed'
    const positions = this.#logs.map((log) => {
      const place = this.#places[this.#logs.indexOf(log)] as Place
      return [nameOf(log), positionOf(place)] as const
    })
    return { position: positions[0]?.[1] as string, positions: Object.fromEntries(positions) }
  }
}

/** The messages of one turn for one log. */
class Group {
  readonly log: string
  readonly records: HistoryRecord[] = []
  readonly recordings: Recording[] = []
  bytes = 0
  /** Resolves to the place of the last message, or to null when they are not recorded. Never rejects. */
  readonly settled: Promise<Place | null>
  settle: (place: Place | null) => void = ignore

  constructor(log: string) {
    this.log = log
    this.settled = new Promise((resolve) => {
      this.settle = resolve
    })
  }
}

/** Puts messages into the store in the order of the calls. */
export class Recorder {
  /** Resolves when the members here have got everything up to a place in a log. */
  delivered: (log: string, place: Place) => Promise<void> = () => Promise.resolve()
  readonly #store: HistoryStore
  readonly #queue: SendQueue | null
  readonly #failed: (messages: number, why: string) => void
  /** The entries that the queue holds, by payload. */
  readonly #entries = new WeakMap<Buffer, { log: string; entry: NewEntry; group: Group }>()
  /** What the engine has not acknowledged. */
  readonly #waiting = new Set<Group>()
  #groups: Group[] = []
  /** The latest group of each log. */
  readonly #last = new Map<string, Group>()
  /** The last entry of each log that is on its way, to the engine or back to the members here. */
  readonly #underWay = new Map<string, Promise<Place | null>>()
  #isAway = true
  #outages = 0
  #isClosed = false

  /** @param failed reports messages that are not recorded */
  constructor(
    store: HistoryStore,
    maxQueued: MaxQueued | undefined,
    failed: (messages: number, why: string) => void,
  ) {
    this.#store = store
    this.#failed = failed
    const link = { publish: (_: readonly string[], payload: Buffer) => this.#append(payload) }
    const events = { failed, taken: ignore, unsure: ignore, refused: ignore }
    this.#queue = store.local ? null : new SendQueue(link, maxQueued, events)
  }

  /** Whether the engine is there, and the hub is open. */
  get isReady(): boolean {
    return !this.#isClosed && (this.#queue === null || !this.#isAway)
  }

  /** The messages and bytes that wait for the engine. */
  get queued(): { messages: number; bytes: number } {
    return { messages: this.#queue?.messages ?? 0, bytes: this.#queue?.bytes ?? 0 }
  }

  /** Returns the logs of what the engine has not acknowledged. */
  waitingLogs(): string[] {
    this.flush()
    return [...new Set([...this.#waiting].map(({ log }) => log))]
  }

  record(logs: readonly string[], message: Omit<HistoryRecord, 'once'>): Recording {
    const recording = new Recording(logs)
    const { frame, pushed, except, exceptUsers, isChange } = message
    const once = logs.length > 1 ? newId().slice(0, 12) : null
    const record = { frame, pushed, except, exceptUsers, once, isChange }
    for (const log of logs) {
      if (this.#isClosed) {
        this.#failed(1, 'the hub is closed')
        recording.settle(log, null)
      } else if (this.#queue) this.#gather(log, record, recording)
      else this.#recordNow(log, record, recording)
    }
    return recording
  }

  /** The engine works again. What waited is recorded when a promise settles, unless the engine is away by then. */
  async up(ready: Promise<unknown>): Promise<void> {
    const outages = this.#outages
    await ready
    if (outages !== this.#outages) return
    this.#isAway = false
    this.#queue?.up()
  }

  down(): void {
    this.#outages++
    this.#isAway = true
    this.#queue?.down()
  }

  /** Resolves to the place of the last message that is on its way into a log; null when none is, or the engine is away. */
  lastOf(log: string): Promise<Place | null> | null {
    if (this.#last.has(log)) this.flush()
    return this.#isAway ? null : (this.#underWay.get(log) ?? null)
  }

  /** The turn has ended. */
  flush(): void {
    const groups = this.#groups
    this.#groups = []
    this.#last.clear()
    for (const group of groups) {
      const { log, records, recordings } = group
      const payload = encodeRecords(records)
      const entry = { key: newKey(), count: records.length, payload }
      this.#entries.set(payload, { log, entry, group })
      this.#waiting.add(group)
      this.#remember(log, group.settled)
      const publication = new Publication()
      void publication.result.then((result) => {
        if (result === 'failed') this.#failAll(group)
        else for (const recording of recordings) recording.publication.settle(result)
      })
      this.#queue?.add([log], payload, records.length, publication)
    }
  }

  /** Resolves when the engine has everything. */
  async drained(): Promise<void> {
    this.flush()
    await this.#queue?.drained()
  }

  /** Gives up what waits. */
  close(): void {
    this.flush()
    this.#isClosed = true
    const unsent = this.#queue?.clear() ?? 0
    for (const group of this.#waiting) this.#failAll(group)
    if (unsent > 0) this.#failed(unsent, 'the hub closed before the engine recorded them')
  }

  #recordNow(log: string, record: HistoryRecord, recording: Recording): void {
    const entry = { key: newKey(), count: 1, payload: encodeRecords([record]) }
    try {
      const place = this.#store.append(log, entry)
      if (isThenable(place)) throw new TypeError('a local store must answer at once')
      recording.settle(log, place)
    } catch (error) {
      this.#failed(1, toError(error).message)
      recording.settle(log, null)
    }
  }

  #gather(log: string, record: HistoryRecord, recording: Recording): void {
    if (this.#groups.length === 0) flushAtEndOfTurn(this)
    let group = this.#last.get(log)
    if (!group || group.bytes > LARGEST) {
      group = new Group(log)
      this.#groups.push(group)
      this.#last.set(log, group)
    }
    group.records.push(record)
    group.recordings.push(recording)
    group.bytes += record.frame.length
  }

  /** The queue tells of a refusal only once: an entry that was queued before is told here. */
  async #appendTo(log: string, entry: NewEntry, group: Group): Promise<Place> {
    try {
      return await this.#store.append(log, entry)
    } catch (error) {
      if (isRefusal(error)) this.#failAll(group)
      throw error
    }
  }

  #failAll(group: Group): void {
    this.#waiting.delete(group)
    group.settle(null)
    for (const recording of group.recordings) recording.settle(group.log, null)
  }

  #remember(log: string, settled: Promise<Place | null>): void {
    this.#underWay.set(log, settled)
    const arrived = settled.then((place) => place && this.delivered(log, place))
    void arrived.then(() => {
      if (this.#underWay.get(log) === settled) this.#underWay.delete(log)
    })
  }

  async #append(payload: Buffer): Promise<void> {
    const known = this.#entries.get(payload)
    if (!known) return
    const { log, entry, group } = known
    const place = await this.#appendTo(log, entry, group)
    if (!this.#waiting.delete(group)) return // told already: an entry may be appended again
    group.settle(place)
    const first = place.offset - entry.count + 1
    for (const [i, recording] of group.recordings.entries()) {
      recording.settle(log, { ...place, offset: first + i })
    }
  }
}

function nameOf(log: string): string {
  return partsOf(log)[1]
}

function ignore(): void {}
