import {
  type Adapter,
  type Answers,
  type Backplane,
  type BackplaneStatus,
  type Instance,
  type Order,
  type PublishResult,
  type Question,
  type Target,
  topicOf,
} from '../hub/adapter.ts'

/**
 * Joins hubs of one process, as if each were an instance of its own: for tests of what an application
 * does on several instances. Give the same adapter to each `koaWs()`.
 */
export function memoryAdapter(): Adapter {
  const lines = new Set<MemoryLine>()
  return {
    connect(instance) {
      const line = new MemoryLine(instance, lines)
      lines.add(line)
      return line
    },
  }
}

/** The line of one hub; orders arrive in a later turn of the loop, as they would from outside. */
class MemoryLine implements Backplane {
  readonly #instance: Instance
  readonly #lines: Set<MemoryLine>
  readonly #topics = new Set<string>()
  readonly #since = Date.now()

  constructor(instance: Instance, lines: Set<MemoryLine>) {
    this.#instance = instance
    this.#lines = lines
  }

  get status(): BackplaneStatus {
    return { state: 'ready', since: this.#since, queued: { messages: 0, bytes: 0 } }
  }

  async subscribe(topic: string): Promise<void> {
    this.#topics.add(topic)
  }

  unsubscribe(topic: string): void {
    this.#topics.delete(topic)
  }

  async publish(order: Order): Promise<PublishResult> {
    setImmediate(() => {
      for (const line of this.#others()) {
        if (line.#concerns(order.target)) line.#instance.deliver(order)
      }
    })
    return 'sent'
  }

  async ask(question: Question): Promise<Answers> {
    const answers = this.#others().map((line) => line.#instance.answer(question))
    return { answers, missing: [] }
  }

  async close(): Promise<void> {
    this.#lines.delete(this)
  }

  #others(): MemoryLine[] {
    return [...this.#lines].filter((line) => line !== this)
  }

  #concerns({ kind, names }: Target): boolean {
    if (kind === 'all' || kind === 'connections') return true
    return names.some((name) => this.#topics.has(topicOf(kind, name)))
  }
}
