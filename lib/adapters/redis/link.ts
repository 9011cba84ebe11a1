import type { AdapterEvents, EchoingLink } from '../../backplane/adapter.ts'
import { debugBackplane, messageOf } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import type { RedisDialect } from './connection.ts'
import { Session, type SessionOwner } from './session.ts'

/** How long to wait before the first and the later attempts, in milliseconds. */
const FIRST = 50
const LONGEST = 1_000
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
  #up = false
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
    await Promise.resolve() // until then it may be left again
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
    this.#drop()
    this.#retry()
    if (wasUp) this.#events.down(error)
  }

  // ---- the rest

  #drop(): void {
    this.#session?.end()
    this.#session = null
    this.#told = new Map()
    this.#up = false
  }

  #retry(delay: number = this.#delay * (0.5 + Math.random() / 2)): void {
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
        this.#flush()
        await Promise.all(this.#told.values())
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
    this.#delay = FIRST
    this.#up = true
    this.#events.up()
  }

  #touch(topic: string): void {
    if (this.#touched.size === 0 && this.#up) queueMicrotask(() => this.#flush())
    this.#touched.add(topic)
  }

  /** Tell the session what has changed, and in the same turn has not changed back. */
  #flush(): void {
    const session = this.#session
    if (!session) return
    const touched = [...this.#touched]
    this.#touched.clear()
    const left = touched.filter((topic) => !this.#wanted.has(topic) && this.#told.delete(topic))
    const fresh = touched.filter((topic) => this.#wanted.has(topic) && !this.#told.has(topic))
    if (left.length > 0) session.unsubscribe(left).catch(ignore) // the session is lost then
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
