// Two connections to Redis that begin and end together: a publisher and a subscriber.
import { AdapterError, toError } from '../../errors.ts'
import type { Hear, RedisConnection, RedisDialect, Word } from './connection.ts'
import { adapterError, isRefusal, textOf } from './replies.ts'
import type { RoleCheck } from './role.ts'

/** The time limit for both connections to become ready, in milliseconds. */
const PATIENCE = 3_000
/** The most channels in one command. */
const MOST = 1_000

/** The topics that this user may not subscribe to, with the errors. */
export type Refusals = Map<string, AdapterError>

/** The callbacks of a session. */
export interface RedisSessionOwner {
  received(payload: Buffer, topic: string): void
  /** Reports the end of the session. Called at most once, and not after `end()`. */
  lost(session: RedisSession, error: Error): void
}

/** A publisher and a subscriber that begin and end together: neither is useful alone. */
export class RedisSession {
  readonly #owner: RedisSessionOwner
  readonly #prefix: string
  readonly #role: RoleCheck
  #publisher: RedisConnection | null = null
  #subscriber: RedisConnection | null = null
  #over = false
  /** Rejects `open()` while it is pending. */
  #fail: ((error: Error) => void) | null = null

  constructor(owner: RedisSessionOwner, prefix: string, role: RoleCheck) {
    this.#owner = owner
    this.#prefix = prefix
    this.#role = role
  }

  /** Connects. Rejects with the first error of either connection, or after `PATIENCE`. */
  async open(dialect: RedisDialect): Promise<void> {
    const failed = new Promise<never>((_resolve, reject) => {
      this.#fail = reject
    })
    const why = `Redis did not answer within ${PATIENCE} ms`
    const late = (): void => this.#fail?.(new AdapterError('ERR_KOAWS_BACKPLANE', why))
    const timer = setTimeout(late, PATIENCE)
    timer.unref()
    const opened = this.#open(dialect)
    opened.catch(ignore) // another error may have come first
    try {
      await Promise.race([opened, failed])
    } catch (error) {
      this.end()
      throw error
    } finally {
      this.#fail = null
      clearTimeout(timer)
    }
  }

  /** Subscribes to topics. Resolves to the refused topics, with their errors. */
  async subscribe(topics: readonly string[]): Promise<Refusals> {
    const refusals: Refusals = new Map()
    const subscriber = this.#subscriber
    if (!subscriber) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
    try {
      await Promise.all(parts(topics).map((part) => this.#subscribe(subscriber, part, refusals)))
    } catch (error) {
      this.#lost(toError(error))
      throw adapterError('Redis did not confirm a subscription', error)
    }
    return refusals
  }

  async unsubscribe(topics: readonly string[]): Promise<void> {
    const subscriber = this.#subscriber
    if (!subscriber) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
    try {
      await Promise.all(parts(topics).map((part) => subscriber.unsubscribe(this.#channelsOf(part))))
    } catch (error) {
      this.#lost(toError(error))
      throw adapterError('Redis did not confirm the end of a subscription', error)
    }
  }

  /** Asks whether the server is still the primary. Ends the session if it is not. */
  async checkRole(): Promise<void> {
    if (!this.#publisher) return
    try {
      await this.#role.check(this.#publisher)
    } catch (error) {
      this.#lost(toError(error))
    }
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<void> {
    const publisher = this.#publisher
    if (!publisher) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
    try {
      await publisher.publish(this.#channelsOf(topics), payload)
      // A subscriber that lost its session at the same time has not received this payload: report a
      // failure, so that the hub publishes it again.
      if (this.#over) throw new Error('the connection had ended')
    } catch (error) {
      if (!isRefusal(error)) this.#lost(toError(error))
      throw adapterError('Redis did not confirm a publish', error)
    }
  }

  /** Runs a command on the connection for publishes, in order with them. */
  async run(words: readonly [string, ...Word[]]): Promise<unknown> {
    const publisher = this.#publisher
    if (!publisher) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is not connected')
    const answer = await publisher.run(words)
    if (this.#over) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'the connection had ended')
    return answer
  }

  /** Ends both connections at once. */
  end(): void {
    this.#over = true
    this.#fail?.(new AdapterError('ERR_KOAWS_BACKPLANE', 'the connection attempt was abandoned'))
    this.#publisher?.destroy()
    this.#subscriber?.destroy()
    this.#publisher = null
    this.#subscriber = null
  }

  async #open(dialect: RedisDialect): Promise<void> {
    const { publisher, subscriber } = await dialect.pair((error) => this.#lost(error))
    this.#publisher = publisher
    this.#subscriber = subscriber
    if (this.#over) {
      this.end()
      return
    }
    const ready = async (connection: RedisConnection): Promise<void> => {
      await connection.connect()
      await this.#role.check(connection)
    }
    await Promise.all([ready(publisher), ready(subscriber)])
  }

  /** Subscribes. Redis accepts or refuses a whole command: halving it finds refused channels. */
  async #subscribe(
    subscriber: RedisConnection,
    topics: readonly string[],
    refusals: Refusals,
  ): Promise<void> {
    try {
      await subscriber.subscribe(this.#channelsOf(topics), this.#hear)
    } catch (error) {
      if (!isRefusal(error)) throw error
      const [first] = topics as [string]
      if (topics.length === 1) {
        const channel = this.#prefix + first
        const why = `Redis refuses a subscription to ${channel}: ${textOf(error)}`
        refusals.set(first, new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', why, { cause: error }))
        return
      }
      const middle = topics.length >> 1
      await Promise.all([
        this.#subscribe(subscriber, topics.slice(0, middle), refusals),
        this.#subscribe(subscriber, topics.slice(middle), refusals),
      ])
    }
  }

  readonly #hear: Hear = (payload, channel) =>
    this.#owner.received(payload, channel.toString().slice(this.#prefix.length))

  #channelsOf(topics: readonly string[]): string[] {
    return topics.map((topic) => this.#prefix + topic)
  }

  #lost(error: Error): void {
    if (this.#over) return
    const isOpening = this.#fail !== null
    this.#fail?.(error)
    this.end()
    if (!isOpening) this.#owner.lost(this, error)
  }
}

function parts(topics: readonly string[]): string[][] {
  const all: string[][] = []
  for (let at = 0; at < topics.length; at += MOST) all.push(topics.slice(at, at + MOST))
  return all
}

function ignore(): void {}
