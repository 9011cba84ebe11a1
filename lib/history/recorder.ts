// Records messages: at once where the store is in this process, else one entry for each log and turn.

import type { MaxQueued } from '../backplane/adapter.ts'
import type { PublishResult } from '../backplane/order.ts'
import { SendQueue } from '../backplane/send-queue.ts'
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

/** The messages of one turn for one log. Nothing is made for its place until somebody asks. */
class Group {
  readonly log: string
  readonly records: HistoryRecord[] = []
  readonly recordings: Recording[] = []
  bytes = 0
  /** What the store is given. */
  entry: NewEntry | null = null
  readonly #failed: (group: Group) => void
  /** The place of the last message; null when they are not recorded. */
  #place: Place | null | undefined
  #resolve: ((place: Place | null) => void) | null = null

  constructor(log: string, failed: (group: Group) => void) {
    this.log = log
    this.#failed = failed
  }

  /** Resolves to the place of the last message, or to null when they are not recorded. Never rejects. */
  async placed(): Promise<Place | null> {
    if (this.#place !== undefined) return this.#place
    return new Promise((resolve) => {
      const before = this.#resolve
      this.#resolve = (place) => {
        before?.(place)
        resolve(place)
      }
    })
  }

  place(place: Place | null): void {
    this.#place = place
    this.#resolve?.(place)
  }

  /** The result of the queue. */
  settle(result: PublishResult): void {
    if (result === 'failed') this.#failed(this)
    else for (const recording of this.recordings) recording.publication.settle(result)
  }
}

/** Puts messages into the store in the order of the calls. */
export class Recorder {
  /** Resolves when the members here have got everything up to a place in a log; null when they have it. */
  delivered: (log: string, place: Place) => Promise<void> | null = () => null
  readonly #store: HistoryStore
  readonly #queue: SendQueue | null
  readonly #failed: (messages: number, why: string) => void
  /** What the engine has not acknowledged, by payload. */
  readonly #waiting = new Map<Buffer, Group>()
  #groups: Group[] = []
  /** The latest group of each log. */
  readonly #last = new Map<string, Group>()
  /** The last entry of each log that is on its way, to the engine or back to the members here. */
  readonly #underWay = new Map<string, Group>()
  readonly #failAll = (group: Group): void => this.#place(group, null)
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
    return [...new Set([...this.#waiting.values()].map(({ log }) => log))]
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
    return this.#isAway ? null : (this.#underWay.get(log)?.placed() ?? null)
  }

  /** The turn has ended. */
  flush(): void {
    const groups = this.#groups
    this.#groups = []
    this.#last.clear()
    for (const group of groups) {
      const { log, records } = group
      const payload = encodeRecords(records)
      group.entry = { key: newKey(), count: records.length, payload }
      this.#waiting.set(payload, group)
      this.#underWay.set(log, group)
      this.#queue?.add([log], payload, records.length, group)
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
    for (const group of this.#waiting.values()) this.#failAll(group)
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
      group = new Group(log, this.#failAll)
      this.#groups.push(group)
      this.#last.set(log, group)
    }
    group.records.push(record)
    group.recordings.push(recording)
    group.bytes += record.frame.length
  }

  async #append(payload: Buffer): Promise<void> {
    const group = this.#waiting.get(payload)
    if (!group?.entry) return // told already
    this.#place(group, await this.#store.append(group.log, group.entry))
  }

  /** Tells once where the messages of a group are; an entry may be appended again. */
  #place(group: Group, place: Place | null): void {
    const { log, entry, recordings } = group
    if (!entry || !this.#waiting.delete(entry.payload)) return
    group.place(place)
    if (place === null) {
      this.#forget(group)
      for (const recording of recordings) recording.settle(log, null)
      return
    }
    const { epoch, key } = place
    let offset = place.offset - entry.count
    for (const recording of recordings) recording.settle(log, { epoch, offset: ++offset, key })
    const delivered = this.delivered(log, place)
    if (delivered === null) this.#forget(group)
    else void delivered.then(() => this.#forget(group))
  }

  #forget(group: Group): void {
    if (this.#underWay.get(group.log) === group) this.#underWay.delete(group.log)
  }
}

function nameOf(log: string): string {
  return partsOf(log)[1]
}

function ignore(): void {}
