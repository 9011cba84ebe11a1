// The record of requests with `retry`, kept by the processes of one machine.

import { setTimeout as pause } from 'node:timers/promises'
import { newKey } from '../../../connection/id.ts'
import { AdapterError } from '../../../errors.ts'
import { nowhere } from '../../../history/place.ts'
import type { HistoryLimits, Place, Reading } from '../../../history/store.ts'
import { type Claim, KEPT, type Known, type RetryStore } from '../../../retry/store.ts'
import { ClusterHistory } from '../history/store.ts'
import type { TransportOptions } from '../history/transport.ts'
import { knownOf, type Note, payloadOf } from './entries.ts'
import { Steadiness } from './steadiness.ts'

/** The folder within that of the application. Another form of the entries gets another name. */
const FOLDER = 'r1'
/** The bounds of one log: claims of several instances, and one answer. */
const MOST_ENTRIES = 64
const MOST_BYTES = 65_536
/** The bound of all logs, in bytes. */
const MOST_TOTAL = 134_217_728
/** How long the other instances may take for an answer, in milliseconds. */
const PATIENCE = 2_000
/** How long `close()` waits for answers that are not kept yet, in milliseconds. */
const LAST = 1_000
/** The pause before an answer that was refused is recorded again, in milliseconds. */
const AGAIN = 1_000

const UNKNOWN: Known = Object.freeze({ state: 'unknown' })

/** What a record needs to know. */
export interface ClusterRetriesOptions extends Omit<TransportOptions, 'inner'> {
  /** How long an answered request is kept, in milliseconds. @default 150_000 */
  readonly kept?: number
  /** How long the other instances may take for an answer, in milliseconds. @default 2_000 */
  readonly patience?: number
}

/** A request that is claimed or runs here. */
interface Running {
  readonly hash: string
  /** The claim that was recorded, or may be. */
  claim: Recorded | null
  isFirst: boolean
}

/** An entry that is recorded, or may be. */
interface Recorded {
  readonly key: string
  readonly place: Promise<Place>
}

/**
 * The record of requests with `retry`. Each request is a log of the history protocol, which an owner and a
 * replica keep: the first claim in it counts. Only the end of both can lose it.
 */
export class ClusterRetries implements RetryStore {
  readonly #history: ClusterHistory
  readonly #kept: number
  readonly #patience: number
  readonly #steadiness = new Steadiness()
  readonly #running = new Map<string, Running>()
  /** Claims that were not recorded in time: nothing runs. */
  readonly #late = new Map<string, Running>()
  /** Answers that are not recorded yet. */
  readonly #unkept = new Map<string, { readonly known: Known; readonly kept: Promise<void> }>()
  readonly #closing = new AbortController()
  readonly #renewal: NodeJS.Timeout
  #closed: Promise<void> | null = null

  constructor({ kept = KEPT, patience = PATIENCE, ...options }: ClusterRetriesOptions) {
    this.#kept = kept
    this.#patience = patience
    const limits: HistoryLimits = {
      messages: MOST_ENTRIES,
      bytes: MOST_BYTES,
      ttl: kept,
      maxTotal: MOST_TOTAL,
    }
    const events = { recorded: ignore, up: ignore, down: ignore }
    const inner = { ...options, inner: FOLDER, remembered: kept }
    this.#history = new ClusterHistory(inner, limits, events)
    this.#renewal = setInterval(() => this.#renew(), kept / 3).unref()
  }

  async claim(id: string, hash: string, again: boolean): Promise<Claim> {
    const here = this.#running.get(id)
    if (here) return { state: 'running', hash: here.hash }
    const running = this.#begin(id, hash)
    this.#running.set(id, running)
    try {
      const claim = await (again ? this.#claimAgain(id, running) : this.#claim(id, running, null))
      running.isFirst = claim.state === 'first'
      return claim
    } finally {
      if (!running.isFirst) this.#giveUp(id, running)
    }
  }

  async look(id: string): Promise<Known> {
    const unkept = this.#unkept.get(id)
    return unkept ? unkept.known : this.#knownOf(await this.#read(id, null))
  }

  settle(id: string, answer: string | null): Promise<void> {
    const running = this.#running.get(id)
    if (!running?.isFirst) return Promise.resolve()
    this.#running.delete(id)
    const { hash } = running
    const kept = this.#keep(id, { kind: 'done', hash, answer })
    this.#unkept.set(id, { known: { state: 'done', hash, answer }, kept })
    return kept
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  // ---- claims

  /** Goes on with a claim of this instance that was late, if there is one. */
  #begin(id: string, hash: string): Running {
    const late = this.#late.get(id)
    if (!late) return { hash, claim: null, isFirst: false }
    if (late.hash !== hash) throw unanswered()
    this.#late.delete(id)
    return late
  }

  /** Claims a request that was sent before, if it certainly has no record. */
  async #claimAgain(id: string, running: Running): Promise<Claim> {
    const since = nowhere(Date.now() - this.#kept)
    const isSure = this.#steadiness.lasts(this.#kept)
    if (running.claim) return isSure ? this.#claim(id, running, since) : UNKNOWN
    const reading = await this.#read(id, isSure ? since : null)
    if ('missing' in reading) return this.look(id)
    if (reading.entries.length > 0 || !isSure) return this.#knownOf(reading)
    return this.#claim(id, running, since)
  }

  /** @param since the time since which there must be no other record; null for any */
  async #claim(id: string, running: Running, since: Place | null): Promise<Claim> {
    running.claim ??= this.#record(id, running)
    const { key, place } = running.claim
    const { offset } = await this.#within(place)
    if (offset > 1) return this.look(id)
    // This claim is the first in its log.
    if (!since) return { state: 'first' }
    const reading = await this.#read(id, since)
    // Otherwise a record was lost meanwhile.
    return 'entries' in reading && reading.entries[0]?.key === key ? { state: 'first' } : UNKNOWN
  }

  #record(id: string, { hash }: Running): Recorded {
    const key = newKey()
    const payload = payloadOf({ kind: 'claim', instance: this.#history.id, hash })
    return { key, place: this.#history.append(id, { key, count: 1, payload }) }
  }

  /** Nothing runs here. A claim that is recorded nevertheless is void, unless it is made again before. */
  #giveUp(id: string, running: Running): void {
    this.#running.delete(id)
    if (!running.claim) return
    this.#late.set(id, running)
    const { key, place } = running.claim
    const end = (isRecorded: boolean): void => {
      if (this.#late.get(id) !== running) return
      this.#late.delete(id)
      if (isRecorded) void this.#keep(id, { kind: 'void', key })
    }
    place.then(
      ({ offset }) => end(offset === 1),
      () => end(false),
    )
  }

  // ---- the rest

  #knownOf(reading: Reading): Known {
    if (!('entries' in reading) || reading.entries.length === 0) return UNKNOWN
    return knownOf(reading.entries, (instance) => this.#history.isAlive(instance))
  }

  #read(id: string, since: Place | null): Promise<Reading> {
    return this.#within(this.#history.read(id, since))
  }

  /** Rejects when the other instances do not answer. */
  async #within<T>(promise: Promise<T>): Promise<T> {
    const over = new AbortController()
    const { signal } = over
    const lapse = pause(this.#patience, undefined, { signal, ref: false }).then(() => {
      throw unanswered()
    })
    try {
      return await Promise.race([promise, lapse])
    } finally {
      over.abort()
    }
  }

  /** Records a note until that succeeds, or is useless. */
  async #keep(id: string, note: Note): Promise<void> {
    const until = performance.now() + this.#kept
    const entry = { key: newKey(), count: 1, payload: payloadOf(note) }
    const { signal } = this.#closing
    while (performance.now() < until && !signal.aborted) {
      try {
        await this.#history.append(id, entry)
        break
      } catch {
        await pause(AGAIN, undefined, { signal, ref: false }).catch(ignore)
      }
    }
    if (note.kind === 'done') this.#unkept.delete(id)
  }

  /** Keeps the claims of requests that run for long. */
  #renew(): void {
    this.#steadiness.look()
    for (const [id, { hash, isFirst }] of this.#running) {
      if (isFirst) void this.#keep(id, { kind: 'running', instance: this.#history.id, hash })
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#renewal)
    const ended = [...this.#running].flatMap(([id, { claim }]) =>
      claim ? [this.#keep(id, { kind: 'void', key: claim.key })] : [],
    )
    this.#running.clear()
    const all = [...ended, ...[...this.#unkept.values()].map(({ kept }) => kept)]
    await Promise.race([Promise.all(all), pause(LAST, undefined, { ref: false })])
    this.#closing.abort()
    await this.#history.close()
  }
}

function unanswered(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'the other instances do not answer')
}

function ignore(): void {}
