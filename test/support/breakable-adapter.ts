import type { Adapter, AdapterEvents, AdapterLink } from '../../lib/index.ts'

/** An engine in memory. Its links can be cut, its payloads lost, and its instances killed. */
export interface BreakableAdapter extends Adapter {
  /** Cuts one link, which notices. The id is `hub.status().id`. */
  cut(id: string): void
  heal(id: string): void
  /** Reports a failed attempt to connect one link, which is not connected. */
  fail(id: string): void
  /** Stops one link in both directions, unnoticed. */
  mute(id: string): void
  unmute(id: string): void
  /** Delivers what one link publishes without acknowledgements, until it is cut. */
  loseAcknowledgements(id: string): void
  /**
   * Ends `loseAcknowledgements` by a cut: unacknowledged payloads are published again after
   * `heal`.
   */
  acknowledge(id: string): void
  /**
   * Lets payloads of one link pass a few at a time, in order, every `ms` milliseconds; 0 ends
   * that.
   */
  lag(id: string, ms: number): void
  /** Keeps the payloads of `from` away from `to`; neither notices. */
  block(from: string, to: string): void
  unblock(from: string, to: string): void
  /** Kills an instance: it sends nothing any more, not even a goodbye. */
  kill(id: string): void
  /**
   * Loses the next payloads after their acknowledgement, or the next for topics with this prefix.
   */
  drop(count: number, topics?: string): void
  /** Delays subscriptions of topics with this prefix, until the returned function is called. */
  slow(topics: string): () => void
  /** Publishes bytes from outside of all instances. */
  inject(topic: string, payload: Buffer): void
  /** Listens to the payloads that instances publish from now on, over links that are up. */
  watch(hear: (id: string, topics: readonly string[], payload: Buffer) => void): void
}

/**
 * @param options of an adapter, whether links receive their own payloads, and whether they connect
 * by themselves, or with `heal` only
 */
export function breakableAdapter({
  echoes = false,
  connects = true,
  ...options
}: {
  heartbeat?: number
  maxQueued?: Adapter['maxQueued']
  echoes?: boolean
  connects?: boolean
} = {}): BreakableAdapter {
  const links = new Map<string, BreakableLink>()
  const linkOf = (id: string): BreakableLink => links.get(id) as BreakableLink
  const blocked = new Set<string>()
  const watchers: Bus['watchers'] = []
  const bus: Bus = {
    links,
    lose: 0,
    losing: '',
    echoes,
    connects,
    slow: null,
    waiting: [],
    blocked,
    watchers,
  }
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
    fail: (id) => linkOf(id).fail(),
    mute: (id) => linkOf(id).mute(true),
    unmute: (id) => linkOf(id).mute(false),
    loseAcknowledgements: (id) => linkOf(id).loseAcknowledgements(),
    acknowledge: (id) => linkOf(id).acknowledge(),
    lag: (id, ms) => linkOf(id).lag(ms),
    block: (from, to) => void bus.blocked.add(`${from} ${to}`),
    unblock: (from, to) => void bus.blocked.delete(`${from} ${to}`),
    kill: (id) => void links.delete(id),
    drop(count, topics = '') {
      bus.lose = count
      bus.losing = topics
    },
    slow(topics) {
      bus.slow = topics
      return () => {
        bus.slow = null
        for (const go of bus.waiting.splice(0)) go()
      }
    },
    inject(topic, payload) {
      for (const link of links.values()) link.receive([topic], payload)
    },
    watch: (hear) => void watchers.push(hear),
  }
}

interface Bus {
  readonly links: Map<string, BreakableLink>
  readonly echoes: boolean
  readonly connects: boolean
  lose: number
  losing: string
  slow: string | null
  readonly waiting: (() => void)[]
  /** `from to` */
  readonly blocked: Set<string>
  readonly watchers: ((id: string, topics: readonly string[], payload: Buffer) => void)[]
}

/** The number of payloads that pass a slow lane at a time. */
const A_FEW = 20

/** Payloads in one direction, in order. */
class Lane {
  readonly #waiting: (() => void)[] = []
  #ms = 0
  #timer: NodeJS.Timeout | undefined

  lag(ms: number): void {
    this.#ms = ms
    if (ms === 0) this.#pass(Infinity)
  }

  run(act: () => void): void {
    if (this.#ms === 0) {
      act()
      return
    }
    this.#waiting.push(act)
    this.#schedule()
  }

  clear(): void {
    this.#waiting.length = 0
  }

  #pass(most: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const act of this.#waiting.splice(0, most)) act()
    if (this.#waiting.length > 0) this.#schedule()
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#pass(A_FEW), this.#ms).unref()
  }
}

class BreakableLink implements AdapterLink {
  readonly #id: string
  readonly #events: AdapterEvents
  readonly #bus: Bus
  readonly #topics = new Set<string>()
  #up = false
  #muted = false
  #losesAcknowledgements = false
  readonly #in = new Lane()
  readonly #out = new Lane()
  /** Rejects the publishes that have no result yet. */
  readonly #open = new Set<(error: Error) => void>()

  constructor(id: string, events: AdapterEvents, bus: Bus) {
    this.#id = id
    this.#events = events
    this.#bus = bus
    if (bus.connects) process.nextTick(() => this.heal())
  }

  get id(): string {
    return this.#id
  }

  loseAcknowledgements(): void {
    this.#losesAcknowledgements = true
  }

  lag(ms: number): void {
    this.#in.lag(ms)
    this.#out.lag(ms)
  }

  /** Cuts the link, so that the hub publishes unacknowledged payloads again. */
  acknowledge(): void {
    if (!this.#losesAcknowledgements) return
    this.#losesAcknowledgements = false // `cut()` returns early for a link that is cut
    this.cut()
  }

  cut(): void {
    if (!this.#up) return
    this.#up = false
    this.#losesAcknowledgements = false
    this.#events.down(new Error('cut'))
    this.#in.clear()
    this.#out.clear()
    for (const reject of this.#open) reject(new Error('cut'))
    this.#open.clear()
  }

  heal(): void {
    if (this.#up || !this.#isAlive) return
    this.#up = true
    this.#events.up()
  }

  fail(): void {
    this.#events.failed?.(new Error('refused'))
  }

  mute(muted: boolean): void {
    this.#muted = muted
  }

  /** Restarts the link, as a hub does for an engine that hangs. */
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
    setImmediate(() =>
      this.#in.run(() => {
        if (!this.#up || this.#muted || !this.#isAlive) return
        if (topics.some((topic) => this.#topics.has(topic))) this.#events.received(payload)
      }),
    )
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    const { slow, waiting } = this.#bus
    if (slow !== null && topics.some((topic) => topic.startsWith(slow))) {
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    for (const topic of topics) this.#topics.add(topic)
    if (!this.#up) throw new Error('away')
  }

  unsubscribe(topics: readonly string[]): void {
    for (const topic of topics) this.#topics.delete(topic)
  }

  publish(topics: readonly string[], payload: Buffer): Promise<void> {
    if (!this.#up) return Promise.reject(new Error('away'))
    for (const hear of this.#bus.watchers) hear(this.#id, topics, payload)
    return new Promise((resolve, reject) => {
      this.#open.add(reject)
      this.#out.run(() => {
        this.#open.delete(reject)
        this.#publish(topics, payload).then(resolve, reject)
      })
    })
  }

  #publish(topics: readonly string[], payload: Buffer): Promise<void> {
    if (this.#muted) return new Promise((_resolve, reject) => this.#open.add(reject))
    if (!this.#isAlive) return Promise.resolve()
    if (this.#bus.lose > 0 && topics[0]?.startsWith(this.#bus.losing)) {
      this.#bus.lose--
      return Promise.resolve()
    }
    for (const link of this.#bus.links.values()) {
      if (link === this ? !this.#bus.echoes : this.#bus.blocked.has(`${this.#id} ${link.id}`))
        continue
      link.receive(topics, payload)
    }
    if (this.#losesAcknowledgements)
      return new Promise((_resolve, reject) => this.#open.add(reject))
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
