// The link of one hub to Redis: successive sessions, and the topics to subscribe.
import { performance } from 'node:perf_hooks'
import type { AdapterEvents, EchoingLink } from '../../backplane/adapter.ts'
import { EVERYBODY, topicOfInstance } from '../../backplane/order.ts'
import { debugBackplane } from '../../debug.ts'
import { AdapterError, toError } from '../../errors.ts'
import type { RedisDialect, Word } from './connection.ts'
import { adapterError } from './replies.ts'
import { RoleCheck } from './role.ts'
import { RedisSession, type RedisSessionOwner, type Refusals } from './session.ts'

/** The wait before the first and before later attempts, in milliseconds. */
const FIRST = 50
const LONGEST = 1_000
/** A session that ends sooner counts as a failed attempt, in milliseconds. */
const STABLE = 1_000
/** The time limit of an attempt, including all subscriptions, in milliseconds. */
const PATIENCE = 10_000

/** The settings of a link. */
export interface LinkSettings {
  /** The id of the instance. */
  readonly id: string
  readonly prefix: string
  /** The interval of the checks whether the server is the primary, in milliseconds. */
  readonly heartbeat: number
}

/** The link of one hub to Redis. It replaces a lost session, and subscribes it again. */
export class RedisLink implements EchoingLink, RedisSessionOwner {
  readonly echoes = true
  readonly #dialect: RedisDialect
  readonly #settings: LinkSettings
  readonly #role = new RoleCheck()
  readonly #events: AdapterEvents
  /** The topics that the hub wants. */
  readonly #wanted = new Set<string>()
  /** The topics that this session was told to subscribe to, with the confirmation of each. */
  #told = new Map<string, Promise<unknown>>()
  /** The topics among them that this user may not subscribe to. */
  #refused: Refusals = new Map()
  /** The topics on which `#wanted` and `#told` may differ. */
  readonly #touched = new Set<string>()
  #session: RedisSession | null = null
  /** Settles when the last unsubscribe is in effect; the session is told nothing else before. */
  #left: Promise<unknown> = Promise.resolve()
  /** Settles when the session has been told the touched topics. */
  #coming: Promise<void> | null = null
  #up = false
  #upAt = 0
  #closed = false
  #delay = FIRST
  #timer: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined

  constructor(dialect: RedisDialect, settings: LinkSettings, events: AdapterEvents) {
    this.#dialect = dialect
    this.#settings = settings
    this.#events = events
    this.#retry(0)
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) {
      this.#wanted.add(topic)
      this.#touch(topic)
    }
    if (!this.#up) throw away()
    await this.#coming // until then, an earlier unsubscribe of the topic may be in progress
    await Promise.all(topics.map((topic) => this.#told.get(topic)))
    if (!this.#up) throw away()
    for (const topic of topics) {
      const refusal = this.#refused.get(topic)
      if (refusal) throw refusal
    }
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

  /** Runs a command on the connection for publishes, in order with them. */
  run(words: readonly [string, ...Word[]]): Promise<unknown> {
    return this.#session && this.#up ? this.#session.run(words) : Promise.reject(away())
  }

  /** Replaces the connections because of an error of `run()`. */
  fail(error: Error): void {
    if (this.#session && this.#up) this.lost(this.#session, error)
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

  // ---- RedisSessionOwner

  received(payload: Buffer, topic: string): void {
    this.#events.received(payload, topic)
  }

  lost(session: RedisSession, error: Error): void {
    if (session !== this.#session || this.#closed) return
    const wasUp = this.#up
    if (wasUp && performance.now() - this.#upAt > STABLE) this.#delay = FIRST
    this.#drop()
    this.#retry()
    const reason = adapterError('Redis', error)
    debugBackplane('%s', reason.message)
    if (wasUp) this.#events.down(reason)
    else this.#events.failed?.(reason)
  }

  // ---- private

  #drop(): void {
    this.#session?.end()
    this.#session = null
    clearInterval(this.#watch)
    this.#told = new Map()
    this.#refused = new Map()
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
    const session = new RedisSession(this, this.#settings.prefix, this.#role)
    this.#session = session
    this.#delay = Math.min(LONGEST, this.#delay * 2)
    const late = new AdapterError(
      'ERR_KOAWS_BACKPLANE',
      `Redis did not confirm all subscriptions within ${PATIENCE} ms`,
    )
    const timer = setTimeout(() => this.lost(session, late), PATIENCE)
    timer.unref()
    try {
      await session.open(this.#dialect)
      // Topics may change while others are being subscribed.
      for (const topic of this.#wanted) this.#touched.add(topic)
      while (this.#touched.size > 0 && session === this.#session) {
        this.#flush(session)
        await Promise.all([this.#left, ...this.#told.values()])
      }
      const { id } = this.#settings
      for (const topic of [EVERYBODY, topicOfInstance(id)]) {
        const refusal = this.#refused.get(topic)
        if (refusal) throw refusal
      }
    } catch (error) {
      this.lost(session, toError(error))
      return
    } finally {
      clearTimeout(timer)
    }
    if (session !== this.#session || this.#closed) return
    this.#up = true
    this.#upAt = performance.now()
    this.#watch = setInterval(() => this.#check(session), this.#settings.heartbeat)
    this.#watch.unref()
    this.#events.up()
    this.#tellRefusals()
  }

  /** Asks for changes that the server does not announce: its role, and our permissions. */
  #check(session: RedisSession): void {
    void session.checkRole()
    const [topic] = this.#refused.keys()
    if (topic === undefined) return
    session.subscribe([topic]).then((refusals) => {
      // The permissions have changed: subscribe to all topics again.
      const why = `Redis accepts a subscription to ${topic} again`
      if (refusals.size === 0) this.lost(session, new AdapterError('ERR_KOAWS_BACKPLANE', why))
    }, ignore)
  }

  #tellRefusals(): void {
    const [refusal = null] = this.#refused.values()
    if (this.#up) this.#events.impaired?.(refusal)
  }

  #touch(topic: string): void {
    this.#touched.add(topic)
    const session = this.#session
    if (session && this.#up) this.#coming ??= this.#left.then(() => this.#flush(session))
  }

  /** Tells the session which topics have changed, except topics changed back in the same turn. */
  #flush(session: RedisSession): void {
    if (session !== this.#session) return
    this.#coming = null
    const touched = [...this.#touched]
    this.#touched.clear()
    const left = touched.filter((topic) => !this.#wanted.has(topic) && this.#told.delete(topic))
    const forgiven = left.filter((topic) => this.#refused.delete(topic))
    if (forgiven.length > 0) this.#tellRefusals()
    const fresh = touched.filter((topic) => this.#wanted.has(topic) && !this.#told.has(topic))
    // node-redis treats a channel that it is unsubscribing from as subscribed, and would not
    // subscribe again.
    // on an error, the session is lost
    if (left.length > 0) this.#left = session.unsubscribe(left).catch(ignore)
    if (fresh.length === 0) return
    const subscribed = session.subscribe(fresh).then((refusals) => {
      if (session !== this.#session || refusals.size === 0) return
      for (const [topic, refusal] of refusals) {
        if (this.#wanted.has(topic)) this.#refused.set(topic, refusal)
      }
      this.#tellRefusals()
    })
    subscribed.catch(ignore)
    for (const topic of fresh) this.#told.set(topic, subscribed)
  }
}

function away(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
}

function ignore(): void {}
