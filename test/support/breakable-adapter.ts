import type { Adapter, AdapterEvents, AdapterLink } from '../../lib/index.ts'

/** An engine in memory whose links can be cut, that can lose payloads, and whose instances can die. */
export interface BreakableAdapter extends Adapter {
  /** One link is cut: it notices. Ids are those of `hub.status().id`. */
  cut(id: string): void
  heal(id: string): void
  /** One link takes and gives nothing, and does not notice. */
  mute(id: string): void
  unmute(id: string): void
  /** An instance dies: nothing of it comes any more, not even a goodbye. */
  kill(id: string): void
  /** The next payloads are lost, after they were acknowledged; or those for topics that begin so. */
  drop(count: number, topics?: string): void
  /** Publish bytes as a stranger. */
  inject(topic: string, payload: Buffer): void
}

/** @param options those of an adapter, and whether links hear themselves */
export function breakableAdapter({
  echoes = false,
  ...options
}: {
  heartbeat?: number
  maxQueued?: Adapter['maxQueued']
  echoes?: boolean
} = {}): BreakableAdapter {
  const links = new Map<string, BreakableLink>()
  const linkOf = (id: string): BreakableLink => links.get(id) as BreakableLink
  const bus = { links, lose: 0, losing: '', echoes }
  return {
    ...options,
    connect(id, events) {
      const link = echoes
        ? new EchoingBreakableLink(id, events, bus)
        : new BreakableLink(id, events, bus)
      links.set(id, link)
      return link
    },
    cut: (id) => linkOf(id).cut(),
    heal: (id) => linkOf(id).heal(),
    mute: (id) => linkOf(id).mute(true),
    unmute: (id) => linkOf(id).mute(false),
    kill: (id) => void links.delete(id),
    drop(count, topics = '') {
      bus.lose = count
      bus.losing = topics
    },
    inject(topic, payload) {
      for (const link of links.values()) link.receive([topic], payload)
    },
  }
}

interface Bus {
  readonly links: Map<string, BreakableLink>
  readonly echoes: boolean
  lose: number
  losing: string
}

class BreakableLink implements AdapterLink {
  readonly #id: string
  readonly #events: AdapterEvents
  readonly #bus: Bus
  readonly #topics = new Set<string>()
  #up = false
  #muted = false
  /** Published while it was muted: nobody knows. */
  readonly #open = new Set<(error: Error) => void>()

  constructor(id: string, events: AdapterEvents, bus: Bus) {
    this.#id = id
    this.#events = events
    this.#bus = bus
    process.nextTick(() => this.heal())
  }

  cut(): void {
    if (!this.#up) return
    this.#up = false
    this.#events.down(new Error('cut'))
    for (const reject of this.#open) reject(new Error('cut'))
    this.#open.clear()
  }

  heal(): void {
    if (this.#up || !this.#isAlive) return
    this.#up = true
    this.#events.up()
  }

  mute(muted: boolean): void {
    this.#muted = muted
  }

  /** For the hub of an engine that hangs. */
  reconnect(): void {
    for (const reject of this.#open) reject(new Error('restarted'))
    this.#open.clear()
    this.#up = false
    const look = (): void => {
      if (this.#muted) setTimeout(look, 5).unref()
      else this.heal()
    }
    look()
  }

  receive(topics: readonly string[], payload: Buffer): void {
    setImmediate(() => {
      if (!this.#up || this.#muted || !this.#isAlive) return
      if (topics.some((topic) => this.#topics.has(topic))) this.#events.received(payload)
    })
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.#topics.add(topic)
    if (!this.#up) throw new Error('away')
  }

  unsubscribe(topics: readonly string[]): void {
    for (const topic of topics) this.#topics.delete(topic)
  }

  publish(topics: readonly string[], payload: Buffer): Promise<void> {
    if (!this.#up) return Promise.reject(new Error('away'))
    if (this.#muted) return new Promise((_resolve, reject) => this.#open.add(reject))
    if (!this.#isAlive) return Promise.resolve()
    if (this.#bus.lose > 0 && topics[0]?.startsWith(this.#bus.losing)) {
      this.#bus.lose--
      return Promise.resolve()
    }
    for (const link of this.#bus.links.values()) {
      if (link !== this || this.#bus.echoes) link.receive(topics, payload)
    }
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#up = false
    if (this.#isAlive) this.#bus.links.delete(this.#id)
  }

  get #isAlive(): boolean {
    return this.#bus.links.get(this.#id) === this
  }
}

class EchoingBreakableLink extends BreakableLink {
  readonly echoes = true

  restart(): void {
    this.reconnect()
  }
}
