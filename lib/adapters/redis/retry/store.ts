// The record of requests with `retry` in Redis, for all instances on one server.
import { setTimeout as pause } from 'node:timers/promises'
import { AdapterError } from '../../../errors.ts'
import { type Claim, KEPT, type Known, type RetryStore } from '../../../retry/store.ts'
import type { Word } from '../connection.ts'
import type { Script } from '../history/scripts.ts'
import { adapterError, codeOf } from '../replies.ts'
import { CLAIM, DROP, LOOK, RENEW, SETTLE } from './scripts.ts'

/** The interval of the signs of life, and how long one lasts, in milliseconds. */
const BEAT = 5_000
const ALIVE = 15_000
/** A claim of a running request is renewed after so many beats. */
const RENEWED = 10
/** How long `close()` waits for the answers that are not kept yet, in milliseconds. */
const LAST = 1_000

/** What the store needs of the hub's link. */
export interface RetryHost {
  readonly prefix: string
  /** The id of the instance. */
  readonly id: string
  /** Runs a command on the link's connection. */
  run(words: readonly [string, ...Word[]]): Promise<unknown>
  /** The store has ended. */
  closed(): void
}

/** An answer that Redis has not confirmed. */
interface Unkept {
  readonly hash: string
  readonly answer: string | null
  /** When it need not be kept any more: `performance.now()`. */
  readonly until: number
}

/** The record of requests with `retry` in Redis. It works while the link is up. */
export class RedisRetries implements RetryStore {
  readonly #host: RetryHost
  readonly #alive: string
  readonly #mark: string
  /** The hashes of the requests that run here, by id. */
  readonly #running = new Map<string, string>()
  readonly #unkept = new Map<string, Unkept>()
  /** Claims of unknown outcome: Redis may have them, but nothing runs. */
  readonly #doubtful = new Set<string>()
  #isUp = false
  #isClosed = false
  #beats = 0
  #timer: NodeJS.Timeout | undefined

  constructor(host: RetryHost) {
    this.#host = host
    this.#alive = `${host.prefix}retry:alive:`
    this.#mark = `${host.prefix}retry:mark`
  }

  async claim(id: string, hash: string, again: boolean): Promise<Claim> {
    const { id: owner } = this.#host
    const words = [this.#alive, owner, hash, again ? '1' : '', String(KEPT), String(ALIVE)]
    this.#assertUp()
    this.#running.set(id, hash)
    try {
      const reply = await this.#run(CLAIM, [this.#keyOf(id), this.#mark], words)
      if (stateOf(reply) === 'F') return { state: 'first' }
      this.#running.delete(id)
      return knownOf(reply)
    } catch (error) {
      this.#running.delete(id)
      // An error that Redis answered means that nothing is claimed.
      if (codeOf(causeOf(error)) === '') this.#doubtful.add(id)
      throw error
    }
  }

  async look(id: string): Promise<Known> {
    const unkept = this.#unkept.get(id)
    if (unkept) return { state: 'done', hash: unkept.hash, answer: unkept.answer }
    this.#assertUp()
    return knownOf(await this.#run(LOOK, [this.#keyOf(id)], [this.#alive]))
  }

  settle(id: string, answer: string | null): Promise<void> {
    const hash = this.#running.get(id)
    if (hash === undefined) return Promise.resolve()
    this.#running.delete(id)
    this.#unkept.set(id, { hash, answer, until: performance.now() + KEPT })
    return this.#keep(id)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    if (this.#isUp) {
      const kept = Promise.all([...this.#unkept.keys()].map((id) => this.#keep(id)))
      // Without its sign of life, what still runs here has an unknown outcome.
      const ended = kept.then(() => this.#host.run(['DEL', this.#alive + this.#host.id]))
      await Promise.race([ended.catch(ignore), pause(LAST, undefined, { ref: false })])
    }
    this.#isUp = false
    this.#running.clear()
    this.#unkept.clear()
    this.#host.closed()
  }

  // ---- called by the link

  linkUp(): void {
    if (this.#isClosed) return
    this.#isUp = true
    // The connection runs these before any later claim.
    for (const id of this.#doubtful) void this.#drop(id)
    for (const id of this.#unkept.keys()) void this.#keep(id)
    this.#beat()
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#beat(), BEAT)
    this.#timer.unref()
  }

  linkDown(): void {
    this.#isUp = false
    clearInterval(this.#timer)
  }

  // ---- private

  #beat(): void {
    const { run, id } = this.#host
    this.#beats++
    for (const [one, { until }] of this.#unkept) {
      if (until < performance.now()) this.#unkept.delete(one)
    }
    const all: Promise<unknown>[] = []
    if (this.#running.size > 0) {
      all.push(run(['SET', this.#alive + id, '1', 'PX', String(ALIVE)]))
    }
    if (this.#beats % RENEWED === 1) {
      all.push(this.#run(RENEW, [this.#mark], []))
      for (const one of this.#running.keys()) {
        all.push(run(['PEXPIRE', this.#keyOf(one), String(KEPT)]))
      }
    }
    for (const one of all) one.catch(ignore) // the link reports it
  }

  async #keep(id: string): Promise<void> {
    const unkept = this.#unkept.get(id)
    if (!unkept || !this.#isUp) return // `linkUp` tries again
    const { hash, answer } = unkept
    const state = answer === null ? 'N' : 'D'
    try {
      const words = [this.#host.id, hash, String(KEPT), state, answer ?? '']
      await this.#run(SETTLE, [this.#keyOf(id)], words)
      if (this.#unkept.get(id) === unkept) this.#unkept.delete(id)
    } catch {}
  }

  async #drop(id: string): Promise<void> {
    try {
      await this.#run(DROP, [this.#keyOf(id)], [this.#host.id])
      this.#doubtful.delete(id)
    } catch {}
  }

  async #run({ sha, text }: Script, keys: string[], words: string[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...words]
    try {
      return await this.#host.run(['EVALSHA', sha, ...rest])
    } catch (error) {
      if (codeOf(causeOf(error)) !== 'NOSCRIPT') throw adapterError('Redis', error)
      return this.#host.run(['EVAL', text, ...rest])
    }
  }

  #keyOf(id: string): string {
    return `${this.#host.prefix}retry:${id}`
  }

  #assertUp(): void {
    if (!this.#isUp) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
  }
}

function knownOf(reply: unknown): Known {
  const [, hash, answer] = Array.isArray(reply) ? reply : []
  const state = stateOf(reply)
  if (state === 'U' || hash === undefined) return { state: 'unknown' }
  if (state === 'R') return { state: 'running', hash: String(hash) }
  return { state: 'done', hash: String(hash), answer: state === 'D' ? String(answer) : null }
}

function stateOf(reply: unknown): string {
  return Array.isArray(reply) ? String(reply[0]) : ''
}

function causeOf(error: unknown): unknown {
  return error instanceof AdapterError && error.cause !== undefined ? error.cause : error
}

function ignore(): void {}
