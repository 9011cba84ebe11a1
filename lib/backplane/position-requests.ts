// Asks other instances for the positions of the subscribed topics.
import type { Arrivals } from './arrivals.ts'
import { type BackplaneNote, noteOf } from './notes.ts'
import { EVERYBODY, topicOfInstance } from './order.ts'
import { inParts, laterTurn } from './parts.ts'
import { REMEMBERED } from './tops.ts'
import type { Tell } from './wire.ts'

/** When more instances than this stay silent, all are asked again at once. */
const FEW = 2
/** How long an arrival may have been in transit, in milliseconds. */
const UNDERWAY = 10_000

interface Open {
  /** The request to answer; 0 until it is sent. */
  number: number
  /**
   * Publishes since this time may be lost. Monotonic, in milliseconds; Infinity without a sign of a
   * loss.
   */
  since: number
  /** When it was asked, or last sent a part. Monotonic, in milliseconds. */
  movedAt: number
}

/**
 * Asks other instances for the positions of the topics that are subscribed here. One part of one
 * request is in transit at a time: the next waits for the acknowledgement. Asks an instance again
 * when it does not answer.
 */
export class PositionRequests {
  readonly #arrivals: Pick<Arrivals, 'topics' | 'unknown'>
  readonly #tell: Tell
  readonly #now: () => number
  readonly #open = new Map<string, Open>()
  /** The targets of the next requests: instances, or all of them at once. */
  readonly #next = new Set<string>()
  #number = 0
  #run = 0
  #running = false

  constructor(arrivals: Pick<Arrivals, 'topics' | 'unknown'>, tell: Tell, now: () => number) {
    this.#arrivals = arrivals
    this.#tell = tell
    this.#now = now
  }

  /**
   * Asks one instance.
   *
   * @param since all publishes before this time have arrived; Infinity without a sign of a loss
   */
  ask(peer: string, since: number): void {
    this.#note(peer, since)
    this.#next.add(peer)
    void this.#send()
  }

  /**
   * Asks all instances at once, after an outage of this instance.
   *
   * @param since all publishes of each instance before this time have arrived
   */
  askAll(peers: readonly string[], since: (peer: string) => number): void {
    for (const peer of peers) this.#note(peer, since(peer))
    this.#next.clear()
    this.#next.add(EVERYBODY)
    void this.#send()
  }

  /** Asks again the instances that have sent nothing for `wait` milliseconds. */
  repeat(wait: number): void {
    if (this.#running) return
    const now = this.#now()
    const silent = [...this.#open].filter(([, { movedAt }]) => now - movedAt >= wait)
    // Asking all at once avoids sending the names of many topics to each of many instances.
    if (silent.length > FEW) this.#next.add(EVERYBODY)
    else for (const [peer] of silent) this.#next.add(peer)
    void this.#send()
  }

  /** Records that an instance sent a part. */
  moved(peer: string): void {
    const open = this.#open.get(peer)
    if (open) open.movedAt = this.#now()
  }

  /** Records that an instance has answered a request completely. */
  told(peer: string, number: number, forgotten: number | undefined): void {
    const open = this.#open.get(peer)
    if (number !== open?.number) return
    this.#open.delete(peer)
    const length = this.#now() - open.since
    const isForgotten = forgotten !== undefined && forgotten < length + UNDERWAY
    if (isForgotten || length > REMEMBERED) this.#arrivals.unknown(peer)
  }

  /** @returns whether a loss was reported */
  left(peer: string): boolean {
    this.#next.delete(peer)
    const open = this.#open.get(peer)
    this.#open.delete(peer)
    const isLost = open !== undefined && open.since !== Infinity
    if (isLost) this.#arrivals.unknown(peer)
    return isLost
  }

  /** Stops sending: the engine is unreachable. Open requests are sent again when it is back. */
  stop(): void {
    this.#run++
    this.#next.clear()
  }

  #note(peer: string, since: number): void {
    const open = this.#open.get(peer)
    const movedAt = this.#now()
    if (open) Object.assign(open, { since: Math.min(open.since, since), movedAt })
    else this.#open.set(peer, { number: 0, since, movedAt })
  }

  async #send(): Promise<void> {
    if (this.#running) return
    this.#running = true
    try {
      for (const to of this.#next) {
        this.#next.delete(to)
        await this.#request(to)
      }
    } finally {
      this.#running = false
    }
  }

  async #request(to: string): Promise<void> {
    const run = this.#run
    const number = ++this.#number
    const asked = to === EVERYBODY ? [...this.#open.keys()] : [to]
    for (const peer of asked) {
      const open = this.#open.get(peer)
      if (open) Object.assign(open, { number, movedAt: this.#now() })
    }
    const topic = to === EVERYBODY ? EVERYBODY : topicOfInstance(to)
    for (const { part, last } of inParts([...this.#arrivals.topics])) {
      const note: BackplaneNote = { type: 'ask', number, topics: part, last }
      await this.#tell(topic, noteOf(note))
      if (run !== this.#run) return
      if (!last) await laterTurn()
    }
    for (const peer of asked) this.moved(peer)
  }
}
