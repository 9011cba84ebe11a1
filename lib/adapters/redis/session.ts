import { AdapterError } from '../../errors.ts'
import type { RedisConnection, RedisDialect } from './connection.ts'
import { adapterError, isRefusal } from './replies.ts'

/** How long it may take until both are connected, in milliseconds. */
const PATIENCE = 3_000
/** So many channels in one command. */
const MOST = 1_000

/** Whom a session tells. */
export interface SessionOwner {
  received(payload: Buffer): void
  /** It is over. Called at most once, and not after `end`. */
  lost(session: Session, error: Error): void
}

/**
 * Two connections to Redis that live and end together: one that publishes and one that listens. Either
 * is of no use without the other, and a session that was lost is never mended.
 */
export class Session {
  readonly #owner: SessionOwner
  readonly #prefix: string
  #publisher: RedisConnection | null = null
  #subscriber: RedisConnection | null = null
  #over = false

  constructor(owner: SessionOwner, prefix: string) {
    this.#owner = owner
    this.#prefix = prefix
  }

  /** Connect. Rejects when that fails, or is not done in time; then it is over. */
  async open(dialect: RedisDialect): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const why = `Redis did not answer within ${PATIENCE} ms`
      timer = setTimeout(() => reject(new AdapterError('ERR_KOAWS_BACKPLANE', why)), PATIENCE)
      timer.unref()
    })
    const opened = this.#open(dialect)
    opened.catch(ignore) // when it is late
    try {
      await Promise.race([opened, late])
    } catch (error) {
      this.end()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  subscribe(topics: readonly string[]): Promise<unknown> {
    return this.#inParts(topics, (subscriber, channels) =>
      subscriber.subscribe(channels, this.#owner.received),
    )
  }

  unsubscribe(topics: readonly string[]): Promise<unknown> {
    return this.#inParts(topics, (subscriber, channels) => subscriber.unsubscribe(channels))
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<void> {
    const publisher = this.#publisher
    if (!publisher) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is away')
    try {
      await publisher.publish(
        topics.map((topic) => this.#prefix + topic),
        payload,
      )
      // Whoever hears by a session that ended at the same time has not heard this.
      if (this.#over) throw new Error('the session had ended')
    } catch (error) {
      if (!isRefusal(error)) this.#lost(error as Error)
      throw adapterError('Redis did not take a publish', error)
    }
  }

  /** End both connections at once. */
  end(): void {
    this.#over = true
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
    await Promise.all([publisher.connect(), subscriber.connect()])
  }

  async #inParts(
    topics: readonly string[],
    act: (subscriber: RedisConnection, channels: string[]) => Promise<unknown>,
  ): Promise<void> {
    const subscriber = this.#subscriber
    if (!subscriber) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'Redis is away')
    const parts: Promise<unknown>[] = []
    for (let at = 0; at < topics.length; at += MOST) {
      const channels = topics.slice(at, at + MOST).map((topic) => this.#prefix + topic)
      parts.push(act(subscriber, channels))
    }
    try {
      await Promise.all(parts)
    } catch (error) {
      this.#lost(error as Error)
      throw adapterError('Redis did not take a subscription', error)
    }
  }

  #lost(error: Error): void {
    if (this.#over) return
    this.end()
    this.#owner.lost(this, error)
  }
}

function ignore(): void {}
