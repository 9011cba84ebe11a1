import type { Adapter, AdapterEvents, AdapterLink } from '../backplane/adapter.ts'

/**
 * Joins hubs of one process, as if each were an instance of its own: for tests of what an application
 * does on several instances. Give the same adapter to each `koaWs()`.
 */
export function memoryAdapter(): Adapter {
  const links = new Set<MemoryLink>()
  return { connect: (_id, events) => new MemoryLink(events, links) }
}

/** The link of one hub; payloads arrive in a later turn of the loop, as they would from outside. */
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
