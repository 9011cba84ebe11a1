// `memoryAdapter()`: connects the hubs of one process.
import type { Adapter, AdapterEvents, AdapterLink } from '../backplane/adapter.ts'
import { memoryRetries } from '../retry/memory-store.ts'
import { memoryHistory } from './memory-history.ts'

/**
 * Returns an adapter that connects the hubs of one process, as if each were an instance of its own.
 * Use it to test an application on several instances: pass the same adapter to each `koaWs()`. The
 * hubs share one history, so they need the same limits in the option `history`, and one record of
 * requests that clients send again.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, memoryAdapter } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const adapter = memoryAdapter()
 * const [first, second] = [koaWs({ adapter }), koaWs({ adapter })]
 * const app = new Koa()
 * app.use(first)
 * app.use(
 *   accept(async (connection) => {
 *     await connection.join('lobby') // resolves when messages of other instances arrive
 *     connection.send('joined')
 *   }),
 * )
 *
 * const socket = await testApp(app).connect('/')
 * console.log(await socket.next()) // joined
 * second.room('lobby').send('from another instance')
 * console.log(await socket.next()) // from another instance
 * await Promise.all([first.close(), second.close()])
 * ```
 */
export function memoryAdapter(): Adapter {
  const links = new Set<MemoryLink>()
  return {
    connect: (_id, events) => new MemoryLink(events, links),
    history: memoryHistory(),
    retries: memoryRetries(),
  }
}

/** The link of one hub. Payloads arrive in a later turn, as from another process. */
class MemoryLink implements AdapterLink {
  readonly #events: AdapterEvents
  readonly #links: Set<MemoryLink>
  readonly #topics = new Set<string>()

  constructor(events: AdapterEvents, links: Set<MemoryLink>) {
    this.#events = events
    this.#links = links
    links.add(this)
    process.nextTick(() => {
      if (links.has(this)) events.up()
    })
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.#topics.add(topic)
  }

  unsubscribe(topics: readonly string[]): void {
    for (const topic of topics) this.#topics.delete(topic)
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<void> {
    setImmediate(() => {
      for (const link of this.#links) {
        if (link !== this && topics.some((topic) => link.#topics.has(topic))) {
          link.#events.received(payload)
        }
      }
    })
  }

  async close(): Promise<void> {
    this.#links.delete(this)
  }
}
