// The requests with `retry` of one hub: each runs at most once, and other arrivals get its answer.
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { isMessageError } from '../errors.ts'
import { Attempt, type RetryDesk, type RetryRequest } from './attempt.ts'
import { leftError, retryFault } from './faults.ts'
import { memoryRetries } from './memory-store.ts'
import { Quota } from './quota.ts'
import { type Claim, type Known, type OpenRetries, type RetryStore, WINDOW } from './store.ts'

/** The pause before the first and before later looks at a request of another instance, in milliseconds. */
const FIRST_LOOK = 50
const LONGEST_LOOK = 1_000
/** A request waits for an engine that has failed for less than this, in milliseconds. */
const BRIDGED = 5_000

const UNKNOWN: Known = Object.freeze({ state: 'unknown' })

/** How a request ended that ran here; `again`: it did not run, look again. */
type Outcome = { readonly answer: string | null } | 'unknown' | 'again'

/** A request that this instance has claimed, or is about to. */
interface Running {
  readonly attempt: Attempt
  readonly ended: Promise<Outcome>
  resolve(outcome: Outcome): void
}

/** What one arrival knows while it waits. */
interface Wait {
  /** Whether another instance was seen to run it: this one never may. */
  isTaken: boolean
  /** Since when the store fails for this request, though it may answer others. */
  failing: number | null
}

/** Where a hub records its requests. */
export interface RetriesOptions {
  readonly store: RetryStore
  /** Whether all instances share the store. */
  readonly shared: boolean
  readonly quota?: Quota | undefined
  /** How long a repeated request waits for the answer, in milliseconds. @default the window */
  readonly patience?: number | undefined
}

/** The requests with `retry` of one hub. */
export class Retries implements RetryDesk {
  /** Whether all instances share the record. */
  readonly isShared: boolean
  readonly #store: RetryStore
  readonly #quota: Quota
  readonly #patience: number
  readonly #running = new Map<string, Running>()
  #isClosed = false
  /** Since when the store fails, as `performance.now()`. */
  #failing: number | null = null

  constructor({ store, shared, quota = new Quota(), patience = WINDOW }: RetriesOptions) {
    this.#store = store
    this.isShared = shared
    this.#quota = quota
    this.#patience = patience
  }

  /** Begins with a request that has arrived. */
  attempt(request: RetryRequest): Attempt {
    const { user, path, key, type, data } = request
    // In JSON, no user, path and key reads like another one, and a missing user is no empty name.
    const scope = JSON.stringify([user ?? null, path, key])
    return new Attempt(this, request, digest(scope), digest(JSON.stringify([type, { data }])))
  }

  async claim(attempt: Attempt): Promise<string | null> {
    const { hash, request } = attempt
    const until = performance.now() + this.#patience
    let delay = FIRST_LOOK
    const wait: Wait = { isTaken: false, failing: null }
    while (performance.now() < until) {
      const here = this.#running.get(attempt.id)
      const known = await (here ? this.#ended(here, attempt, until) : this.#known(attempt, wait))
      if (known) {
        if (known.state === 'first') return null
        if (known.state === 'unknown') break
        if (known.hash !== hash) throw retryFault('ERR_KOAWS_KEY_REUSED')
        if (known.state === 'done') return answerOf(known)
        wait.isTaken = true
      }
      await quiet(pause(delay, undefined, { signal: request.ended, ref: false }))
      if (request.ended.aborted) throw leftError()
      delay = Math.min(LONGEST_LOOK, delay * 1.5)
    }
    request.count('retryUnknown')
    throw retryFault('ERR_KOAWS_OUTCOME_UNKNOWN')
  }

  async first(attempt: Attempt): Promise<boolean> {
    const wait: Wait = { isTaken: false, failing: null }
    while (!this.#running.has(attempt.id)) {
      const known = await this.#known(attempt, wait)
      if (known) return known.state === 'first'
      await pause(FIRST_LOOK, undefined, { ref: false })
    }
    return false
  }

  settle(attempt: Attempt, answer: string | null): void {
    const { id, request } = attempt
    const running = this.#running.get(id)
    if (running?.attempt !== attempt) return
    const isKept = this.#quota.settle(id, Buffer.byteLength(answer ?? ''))
    const kept = isKept ? answer : null
    if (!isKept) request.count('retryAnswers')
    void this.#store.settle(id, kept)
    this.#leave(running, { answer: kept })
  }

  /** Closes the store. What still runs has an unknown outcome. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const running of [...this.#running.values()]) {
      running.attempt.abort()
      this.#leave(running, 'unknown')
    }
    await this.#store.close()
    this.#quota.clear()
  }

  /** Claims a request if possible, and returns what is known; null to ask again. */
  async #known(attempt: Attempt, wait: Wait): Promise<Claim | null> {
    try {
      const known = await this.#ask(attempt, wait.isTaken)
      this.#failing = wait.failing = null
      return known
    } catch (error) {
      if (isMessageError(error)) throw error
      // A short break of the engine is no reason to refuse a request.
      const now = performance.now()
      this.#failing ??= now
      wait.failing ??= now
      const since = Math.min(this.#failing, wait.failing)
      if (now - since < BRIDGED && !this.#isClosed) return null
      if (attempt.request.again || wait.isTaken) return UNKNOWN
      throw retryFault('ERR_KOAWS_RETRY_STORE', error)
    }
  }

  async #ask(attempt: Attempt, isTaken: boolean): Promise<Claim> {
    const { id, request } = attempt
    // A store that has lost the record of a request must not let it run a second time.
    if (isTaken || this.#isClosed || this.#quota.has(id)) return this.#store.look(id)
    if (this.#quota.take(id, request.owner)) return this.#claim(attempt)
    const known = await this.#store.look(id)
    if (known.state !== 'unknown') return known // its answer can be given nevertheless
    request.count('retryKeys')
    if (request.again) return known
    throw retryFault('ERR_KOAWS_TOO_MANY_KEYS')
  }

  async #claim(attempt: Attempt): Promise<Claim> {
    const { id, hash, request } = attempt
    // Before the store has answered: another arrival of the same request waits for this one.
    const running = this.#enter(attempt)
    const mayRun = this.isShared || !request.again
    let claim: Claim = UNKNOWN
    try {
      claim = await (mayRun ? this.#store.claim(id, hash, request.again) : this.#store.look(id))
    } finally {
      if (claim.state !== 'first') this.#giveUp(running)
    }
    const isClosed = claim.state === 'first' && this.#running.get(id) !== running
    return isClosed ? UNKNOWN : claim
  }

  #enter(attempt: Attempt): Running {
    let resolve = (_outcome: Outcome): void => {}
    const ended = new Promise<Outcome>((settle) => {
      resolve = settle
    })
    const running: Running = { attempt, ended, resolve }
    this.#running.set(attempt.id, running)
    return running
  }

  #leave(running: Running, outcome: Outcome): void {
    const { id } = running.attempt
    if (this.#running.get(id) === running) this.#running.delete(id)
    running.resolve(outcome)
  }

  #giveUp(running: Running): void {
    this.#quota.release(running.attempt.id)
    this.#leave(running, 'again')
  }

  /** Waits for a request that runs here, until the client leaves or the time is over. */
  async #ended(here: Running, { hash, request }: Attempt, until: number): Promise<Known | null> {
    const { hash: theirs } = here.attempt
    if (theirs !== hash) return { state: 'running', hash: theirs }
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, request.ended])
    const late = pause(until - performance.now(), 'unknown' as const, { signal, ref: false })
    const outcome = await Promise.race([here.ended, quiet(late)])
    over.abort()
    if (outcome === undefined) throw leftError()
    if (outcome === 'again') return null
    return outcome === 'unknown' ? UNKNOWN : { state: 'done', hash, answer: outcome.answer }
  }
}

/**
 * Opens the requests of a hub, by its id.
 *
 * @param open opens the record that all instances share; without it, the hub has one of its own
 */
export function openRetries(id: string, open: OpenRetries | undefined): Retries {
  return new Retries({ store: (open ?? memoryRetries())(id), shared: open !== undefined })
}

function answerOf({ answer }: { readonly answer: string | null }): string {
  if (answer === null) throw retryFault('ERR_KOAWS_ANSWER_NOT_KEPT')
  return answer
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

/** Turns a rejection, such as that of an aborted pause, into undefined. */
function quiet<T>(promise: Promise<T>): Promise<T | undefined> {
  return promise.catch(() => undefined)
}
