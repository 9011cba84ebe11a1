// Changes of the membership that keep their place among the messages of a log: they are recorded in it, too.

import { type Change, type Target, topicOf } from '../backplane/order.ts'
import { wait } from '../backplane/parts.ts'
import { newId } from '../connection/id.ts'
import { fieldsOf } from '../fields.ts'
import { partsOf } from './place.ts'
import type { HistoryRecord } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { HistoryStore, Place } from './store.ts'

/** How long a change of the membership waits for what was sent before, in milliseconds. */
const PATIENCE = 2_000
/** The most changes that are remembered. */
const MOST = 1_024

/** What changes need of the history. */
export interface ChangesHost {
  readonly store: HistoryStore
  readonly recorder: Recorder
  /** Returns which rooms or users of a target are recorded. */
  recordedNames(target: Target): readonly string[]
  /** Whether a log has members here. */
  follows(log: string): boolean
  /** Resolves when the members here have got everything up to a place; null when they have it. */
  reached(log: string, place: Place): Promise<void> | null
  /** Carries out a change on the present members. */
  act(change: Change): void
}

/** The content of the record of a change. */
interface Recorded {
  readonly change: Change
  readonly id: string
  /** The logs that it is recorded in. */
  readonly logs: readonly string[]
}

/**
 * The changes of one hub. An order to the other instances travels on another path than the messages of a log, and may
 * overtake them or come after later ones. So a leave or a close is also recorded: each instance carries it out at its
 * place in the log, and the order afterwards concerns only connections that the log does not.
 */
export class Changes {
  readonly #host: ChangesHost
  /** The ids of changes that were carried out. */
  readonly #done = new Set<string>()
  /** The logs in which the record of a change has come, while it is missing in others. */
  readonly #open = new Map<string, Set<string>>()

  constructor(host: ChangesHost) {
    this.#host = host
  }

  /**
   * Records a change in the logs of its target. Returns the order for all instances, in a promise while the records are
   * on their way; null when nothing is to be recorded, or the engine is away.
   *
   * @param isAlone whether there are no other instances
   */
  record(change: Change, isAlone: boolean): Change | Promise<Change> | null {
    const { store, recorder } = this.#host
    const names = this.#host.recordedNames(change.target)
    if (names.length === 0 || !recorder.isReady || (store.local && isAlone)) return null
    const { except, exceptUsers } = change.target
    const logs = names.map((name) => logOf(change.target, name))
    const id = newId().slice(0, 12)
    const content: Recorded = {
      change: { ...change, target: { ...change.target, names } },
      id,
      logs,
    }
    const frame = Buffer.from(JSON.stringify(content))
    recorder.record(logs, { frame, pushed: false, except, exceptUsers, isChange: true })
    const order = { ...change, id }
    const sent = this.sentBefore(change.target)
    return sent === null ? order : sent.then(() => order)
  }

  /**
   * Resolves when the members here have got what was sent before, so that what changes the membership keeps its place
   * in the order. Null when nothing is on its way.
   */
  sentBefore(target: Target): Promise<unknown> | null {
    const { store, recorder } = this.#host
    if (store.local) return null
    const waits: Promise<unknown>[] = []
    for (const name of this.#host.recordedNames(target)) {
      const log = logOf(target, name)
      const last = recorder.lastOf(log)
      if (last !== null) waits.push(last.then((place) => place && this.#host.reached(log, place)))
    }
    return waits.length > 0 ? Promise.race([Promise.all(waits), wait(PATIENCE)]) : null
  }

  /** The record of a change has come at its place in a log. @throws TypeError for one of other software */
  arrived({ frame }: HistoryRecord, log: string): void {
    const { change, id, logs } = contentOf(frame, log)
    if (this.#done.has(id)) return
    const come = this.#open.get(id) ?? new Set()
    come.add(log)
    const isComplete = logs.every((one) => come.has(one) || !this.#host.follows(one))
    if (!isComplete) {
      this.#open.set(id, come)
      forgetOldest(this.#open)
      return
    }
    this.#note(id)
    const names = [...come].map((one) => partsOf(one)[1])
    this.#host.act({ ...change, target: { ...change.target, kind: partsOf(log)[0], names } })
  }

  /**
   * Returns the part of a change that is to be carried out now: without the logs that had it, or will have it soon.
   *
   * @param isForeign whether it is the order of another instance, which may have overtaken the record
   */
  restOf(change: Change, isForeign: boolean): Target {
    const { id, target } = change
    if (id === undefined) return target
    const recorded = this.#host.recordedNames(target)
    if (!this.#done.has(id)) {
      const logs = recorded.map((name) => logOf(target, name))
      if (!isForeign || !logs.some((log) => this.#host.follows(log))) {
        this.#note(id)
        return target
      }
      setTimeout(() => this.#actLate(id, change, recorded), PATIENCE).unref()
    }
    return { ...target, names: target.names.filter((name) => !recorded.includes(name)) }
  }

  /** The record has not come: the engine is away, or the log begins anew. */
  #actLate(id: string, change: Change, names: readonly string[]): void {
    if (this.#done.has(id)) return
    this.#note(id)
    this.#host.act({ ...change, target: { ...change.target, names } })
  }

  #note(id: string): void {
    this.#open.delete(id)
    this.#done.add(id)
    forgetOldest(this.#done)
  }
}

function logOf({ kind }: Target, name: string): string {
  return topicOf(kind === 'users' ? 'users' : 'rooms', name)
}

function forgetOldest(all: Map<string, unknown> | Set<string>): void {
  if (all.size <= MOST) return
  const [oldest] = all.keys()
  if (oldest !== undefined) all.delete(oldest)
}

/** Reads the record of a change. @throws TypeError, or a SyntaxError */
function contentOf(frame: Buffer, log: string): Recorded {
  const { change, id, logs } = fieldsOf(JSON.parse(frame.toString('utf8')))
  const { type, code, reason, rooms } = fieldsOf(change)
  const isLeave = type === 'leave' && isTexts(rooms)
  const isClose = type === 'close' && typeof code === 'number' && typeof reason === 'string'
  if (!(isLeave || isClose) || typeof id !== 'string' || !isTexts(logs) || !logs.includes(log)) {
    throw new TypeError('the record of a change is malformed')
  }
  const { target } = change as Change
  if (!isTexts(target?.except) || !isTexts(target.exceptUsers)) {
    throw new TypeError('the target of a change is malformed')
  }
  return { change: change as Change, id, logs }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}
