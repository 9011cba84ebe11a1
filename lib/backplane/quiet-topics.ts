// Repeats the positions of topics that have gone quiet.
import { laterTurn } from './parts.ts'
import type { AnsweringLine } from './position-answers.ts'
import type { Tops } from './tops.ts'
import type { Tell } from './wire.ts'

/** The most topics in one turn; the next ones wait for the acknowledgement. */
const PART = 250

/**
 * Repeats the positions of topics that have gone quiet. If the last publish on such a topic is
 * lost, no later message reveals the loss.
 */
export class QuietTopics {
  readonly #tops: Tops
  readonly #line: Pick<AnsweringLine, 'isReady'>
  readonly #tell: Tell
  /** Topics with positions that are not sent yet. */
  #topics: string[] = []
  #running = false

  constructor(tops: Tops, line: Pick<AnsweringLine, 'isReady'>, tell: Tell) {
    this.#tops = tops
    this.#line = line
    this.#tell = tell
  }

  /**
   * Sends the positions of quiet topics. Called once per beat. While an earlier run is in progress,
   * the next topics wait.
   */
  async tell(now: () => number): Promise<void> {
    if (this.#running) return
    if (this.#topics.length === 0) this.#topics = this.#tops.quiet(now()).map(({ topic }) => topic)
    await this.#tellAll(now)
  }

  /**
   * Sends the positions of all recent topics when the instance ends: no later message or beat would
   * reveal a loss.
   */
  async end(now: () => number): Promise<void> {
    this.#topics = [...new Set([...this.#topics, ...this.#tops.untold()])]
    if (!this.#running) await this.#tellAll(now)
  }

  async #tellAll(now: () => number): Promise<void> {
    this.#running = true
    while (this.#topics.length > 0 && this.#line.isReady()) {
      // The age must be current: compute the top now, not when the topic went quiet.
      const part = this.#topics.splice(-PART).map((topic) => this.#tops.get(topic, now()))
      await Promise.all(
        part.map((top) => top && this.#tell(top.topic, { kind: 'tops', tops: [top] })),
      )
      await laterTurn()
    }
    this.#running = false
  }
}
