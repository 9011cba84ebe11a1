import { performance } from 'node:perf_hooks'
import type { AdapterEvents, EchoingLink } from '../../backplane/adapter.ts'
import { debugBackplane, messageOf } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import type { RedisDialect } from './connection.ts'
import { Session, type SessionOwner } from './session.ts'

/** How long to wait before the first and the later attempts, in milliseconds. */
const FIRST = 50
const LONGEST = 1_000
/** A session that was lost sooner counts as one more attempt that failed, in milliseconds. */
const STABLE = 1_000
/** How long an attempt may take, all topics included, in milliseconds. */
const PATIENCE = 10_000

/** The link of one hub to Redis: one session after the other, and the topics that each has to have. */
export class RedisLink implements EchoingLink, SessionOwner {
  readonly echoes = true
  readonly #dialect: RedisDialect
  readonly #prefix: string
  readonly #events: AdapterEvents
  /** What is to be subscribed. */
  readonly #wanted = new Set<string>()
  /** What this session was told to subscribe, and when that holds. */
  #told = new Map<string, Promise<unknown>>()
  /** What may differ between the two. */
  readonly #touched = new Set<string>()
  #session: Session | null = null
  /** When the last unsubscribe holds: nothing else is told before. */
  #left: Promise<unknown> = Promise.resolve()
  /** When what was touched will have been told. */
  #coming: Promise<void> | null = null
  #up = false
  #upAt = 0
  #closed = false
  #delay = FIRST
  #timer: NodeJS.Timeout | undefined

  constructor(dialect: RedisDialect, prefix: string, events: AdapterEvents) {
    this.#dialect = dialect
    this.#prefix = prefix
    this.#events = events
    this.#retry(0)
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) {
      this.#wanted.add(topic)
      this.#touch(topic)
    }
    if (!this.#up) throw away()
    await this.#coming // until then it may be left again
    await Promise.all(topics.map((topic) => this.#told.get(topic)))
    if (!this.#up) throw away()
  }

  unsubscribe(topics: readonly string[]): void {
    for (const topic of topics) {
      this.#wanted.delete(topic)
      this.#touch(topic)
    }
  }

  publish(topics: readonly string[], payload: Buffer): Promise<unknown> {
    return this.#session && this.#up
      ? this.#session.publish(topics, payload)
      : Promise.reject(away())
  }

  restart(): void {
    if (this.#closed) return
    this.#drop()
    this.#delay = FIRST
    this.#retry(0)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#drop()
  }

  // ---- SessionOwner

  readonly received = (payload: Buffer): void => this.#events.received(payload)

  lost(session: Session, error: Error): void {
    if (session !== this.#session || this.#closed) return
    const wasUp = this.#up
    if (wasUp && performance.now() - this.#upAt > STABLE) this.#delay = FIRST
    this.#drop()
    this.#retry()
    if (wasUp) this.#events.down(error)
  }

  // ---- the rest

  #drop(): void {
    this.#session?.end()
    this.#session = null
    this.#told = new Map()
    this.#left = Promise.resolve()
    this.#coming = null
    this.#up = false
  }

  #retry(delay: number = this.#delay * (1 + Math.random() / 4)): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#attempt(), delay)
    this.#timer.unref()
  }

  async #attempt(): Promise<void> {
    const session = new Session(this, this.#prefix)
    this.#session = session
    this.#delay = Math.min(LONGEST, this.#delay * 2)
    const late = new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis took too long to subscribe')
    const timer = setTimeout(() => this.lost(session, late), PATIENCE)
    timer.unref()
    try {
      await session.open(this.#dialect)
      // Topics may come and go while others are being subscribed.
      for (const topic of this.#wanted) this.#touched.add(topic)
      while (this.#touched.size > 0 && session === this.#session) {
        this.#flush(session)
        await Promise.all([this.#left, ...this.#told.values()])
      }
    } catch (error) {
      debugBackplane('Redis: %s', messageOf(error))
      if (session !== this.#session || this.#closed) return
      this.#drop()
      this.#retry()
      return
    } finally {
      clearTimeout(timer)
    }
    if (session !== this.#session || this.#closed) return
    this.#up = true
    this.#upAt = performance.now()
    this.#events.up()
  }

  #touch(topic: string): void {
    this.#touched.add(topic)
    const session = this.#session
    if (session && this.#up) this.#coming ??= this.#left.then(() => this.#flush(session))
  }

  /** Tell the session what has changed, and in the same turn has not changed back. */
  #flush(session: Session): void {
    if (session !== this.#session) return
    this.#coming = null
    const touched = [...this.#touched]
    this.#touched.clear()
    const left = touched.filter((topic) => !this.#wanted.has(topic) && this.#told.delete(topic))
    const fresh = touched.filter((topic) => this.#wanted.has(topic) && !this.#told.has(topic))
    // node-redis takes a channel that it is leaving for one that it has, and would not subscribe to it.
    if (left.length > 0) this.#left = session.unsubscribe(left).catch(ignore) // it is lost then
    if (fresh.length === 0) return
    const subscribed = session.subscribe(fresh)
    subscribed.catch(ignore)
    for (const topic of fresh) this.#told.set(topic, subscribed)
  }
}

function away(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is away')
}

function ignore(): void {}
