// Answers requests for positions, one part at a time.
import { type BackplaneNote, noteOf } from './notes.ts'
import { topicOfInstance } from './order.ts'
import { laterTurn, PART, PART_BYTES } from './parts.ts'
import type { Tops } from './tops.ts'
import type { Tell, Top } from './wire.ts'

/** The most instances to answer at a time; further ones ask again. */
const MOST_ASKERS = 4_096

/** The line that answers go out on. */
export interface AnsweringLine {
  /**
   * Returns whether tops may be sent: the engine is reachable, and the queue was published before.
   */
  isReady(): boolean
  /** Publishes the groups of this turn, so that a top counts them. */
  flush(): void
}

interface Asker {
  readonly topics: Set<string>
  /** The request that completes the answer; undefined while the request is incomplete. */
  number: number | undefined
}

/**
 * Answers instances that ask for the tops of this instance. One part is in transit at a time: the
 * next waits for the acknowledgement. A repeated request joins the one in progress.
 */
export class PositionAnswers {
  readonly #tops: Tops
  readonly #tell: Tell
  readonly #line: AnsweringLine
  readonly #now: () => number
  /** The instance that was answered longest ago comes first. */
  readonly #askers = new Map<string, Asker>()
  #running = false

  constructor(tops: Tops, tell: Tell, line: AnsweringLine, now: () => number) {
    this.#tops = tops
    this.#tell = tell
    this.#line = line
    this.#now = now
  }

  asked(peer: string, { number, topics, last }: Extract<BackplaneNote, { type: 'ask' }>): void {
    const asker = this.#asker(peer)
    if (!asker) return
    for (const topic of topics) if (this.#tops.has(topic)) asker.topics.add(topic)
    // A later request of the same instance replaces an earlier one.
    asker.number = last ? number : undefined
    void this.resume()
  }

  left(peer: string): void {
    this.#askers.delete(peer)
  }

  /** Forgets all requests: the engine is unreachable, and instances ask again when it is back. */
  clear(): void {
    this.#askers.clear()
  }

  /** Continues with the pending answers. */
  async resume(): Promise<void> {
    if (this.#running) return
    this.#running = true
    try {
      for (;;) {
        const next = this.#next()
        if (!next || !this.#line.isReady()) return
        await this.#answer(...next)
        // An adapter may acknowledge within the turn; let other work go first.
        await laterTurn()
      }
    } finally {
      this.#running = false
    }
  }

  #asker(peer: string): Asker | null {
    const known = this.#askers.get(peer)
    if (known) return known
    if (this.#askers.size >= MOST_ASKERS) return null
    const asker: Asker = { topics: new Set(), number: undefined }
    this.#askers.set(peer, asker)
    return asker
  }

  /** Returns the first instance with pending work, and moves it to the end. */
  #next(): [string, Asker] | null {
    for (const [peer, asker] of this.#askers) {
      if (asker.topics.size === 0 && asker.number === undefined) continue
      this.#askers.delete(peer)
      this.#askers.set(peer, asker)
      return [peer, asker]
    }
    return null
  }

  async #answer(peer: string, asker: Asker): Promise<void> {
    this.#line.flush()
    const now = this.#now()
    const part: Top[] = []
    let bytes = 0
    for (const topic of asker.topics) {
      if (part.length >= PART || bytes > PART_BYTES) break
      asker.topics.delete(topic)
      const top = this.#tops.get(topic, now)
      if (!top) continue
      part.push(top)
      bytes += topic.length
    }
    if (part.length > 0) {
      await this.#tell(topicOfInstance(peer), { kind: 'tops', tops: part })
    } else if (asker.topics.size === 0 && asker.number !== undefined) {
      const { number } = asker
      this.#askers.delete(peer)
      const forgotten = this.#tops.forgotten(now)
      await this.#tell(topicOfInstance(peer), noteOf({ type: 'told', number, forgotten }))
    }
  }
}
