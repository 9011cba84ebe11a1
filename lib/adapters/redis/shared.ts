// The link of one hub, shared by its backplane, its history and its requests with `retry`.
import type { AdapterEvents, EchoingLink } from '../../backplane/adapter.ts'
import { AdapterError } from '../../errors.ts'
import type { HistoryEvents, HistoryLimits, HistoryStore } from '../../history/store.ts'
import type { RetryStore } from '../../retry/store.ts'
import type { RedisDialect } from './connection.ts'
import { logOfTopic } from './history/keys.ts'
import { RedisHistory } from './history/store.ts'
import { type LinkSettings, RedisLink } from './link.ts'
import { RedisRetries } from './retry/store.ts'

/** What uses a link. */
export type LinkPart = 'hub' | 'history' | 'retries'

/**
 * The link of one hub, shared by its backplane and its history: both use one pair of connections,
 * so that Redis sees the messages of an instance in the order in which it sent them. The link is
 * closed when all of its parts are.
 */
export class SharedLink {
  readonly #dialect: RedisDialect
  readonly #settings: LinkSettings
  readonly #link: RedisLink
  readonly #ended: () => void
  #hub: AdapterEvents | null = null
  #store: RedisHistory | null = null
  #retries: RedisRetries | null = null
  #isUp = false

  /** @param ended called when the link has been closed */
  constructor(dialect: RedisDialect, settings: LinkSettings, ended: () => void) {
    this.#dialect = dialect
    this.#settings = settings
    this.#ended = ended
    this.#link = new RedisLink(dialect, settings, {
      received: (payload, topic = '') => {
        const log = logOfTopic(topic)
        if (log === null) this.#hub?.received(payload, topic)
        else this.#store?.received(log, payload)
      },
      up: () => {
        this.#isUp = true
        this.#hub?.up()
        this.#store?.linkUp()
        this.#retries?.linkUp()
      },
      down: (reason) => {
        this.#isUp = false
        this.#store?.linkDown(reason)
        this.#retries?.linkDown()
        this.#hub?.down(reason)
      },
      failed: (reason) => this.#hub?.failed?.(reason),
      impaired: (reason) => this.#hub?.impaired?.(reason),
      gone: (id) => this.#hub?.gone(id),
    })
  }

  has(part: LinkPart): boolean {
    return { hub: this.#hub, history: this.#store, retries: this.#retries }[part] !== null
  }

  /** Opens the link of the backplane. */
  connect(events: AdapterEvents): EchoingLink {
    const link = this.#link
    this.#hub = events
    this.#soon(() => {
      if (this.#hub === events) events.up()
    })
    return {
      echoes: true,
      subscribe: (topics) => link.subscribe(topics),
      unsubscribe: (topics) => link.unsubscribe(topics),
      publish: (topics, payload) => {
        this.#store?.flush()
        return link.publish(topics, payload)
      },
      restart: () => {
        this.#isUp = false
        const why = 'the messages of this instance do not come back from Redis'
        this.#store?.linkDown(new AdapterError('ERR_KOAWS_BACKPLANE', why))
        this.#retries?.linkDown()
        link.restart()
      },
      close: () => {
        this.#hub = null
        return this.#close()
      },
    }
  }

  /** Opens the history. */
  history(limits: HistoryLimits, events: HistoryEvents): HistoryStore {
    const link = this.#link
    const { masters } = this.#dialect
    const { prefix, heartbeat } = this.#settings
    const store = new RedisHistory(
      {
        prefix,
        heartbeat,
        masters,
        run: (words) => link.run(words),
        fail: (error) => link.fail(error),
        subscribe: (topic) => link.subscribe([topic]),
        unsubscribe: (topic) => link.unsubscribe([topic]),
        closed: () => {
          this.#store = null
          void this.#close()
        },
      },
      limits,
      events,
    )
    this.#store = store
    this.#soon(() => store.linkUp())
    return store
  }

  /** Opens the record of requests with `retry`. */
  retries(): RetryStore {
    const link = this.#link
    const { id, prefix } = this.#settings
    const retries = new RedisRetries({
      id,
      prefix,
      run: (words) => link.run(words),
      closed: () => {
        this.#retries = null
        void this.#close()
      },
    })
    this.#retries = retries
    this.#soon(() => retries.linkUp())
    return retries
  }

  /** Reports a link that is up already to what is opened later. */
  #soon(tell: () => void): void {
    if (this.#isUp) setImmediate(() => this.#isUp && tell())
  }

  async #close(): Promise<void> {
    if (this.#hub || this.#store || this.#retries) return
    await this.#link.close()
    this.#ended()
  }
}
