// The topics that both sides of a stream want, and what each side was told of them.

import { confirmation, LIST_BYTES, MORE, RecordKind, readTopicList, topicList } from './records.ts'

/** How long the other side may take to confirm a subscription, in milliseconds. */
const CONFIRMATION = 1_000

/** The topics that the two sides of a stream want of each other, and what each has been told of them. */
export class TopicExchange {
  /** There is something to say. */
  readonly #poke: () => void
  /** What the other side wants. */
  readonly #wanted = new Set<string>()
  /** What the other side has not been told: topics that are wanted here from now on, or no more. */
  readonly #changes = new Map<string, boolean>()
  /** Subscriptions that it has not confirmed. */
  readonly #unconfirmed = new Map<number, () => void>()
  /** The last subscription, and the last that the other side was told; -1 until it has the first list. */
  #subscribes = 0
  #told = -1
  /** Lists of the other side that it has not been told to hold. */
  #confirmFirst = false
  #confirmLast = 0
  /** It took too long to confirm: nothing waits for it until it does. */
  #stuck = false

  constructor(poke: () => void) {
    this.#poke = poke
  }

  /** Whether the other side has the first list of this one. */
  get isIntroduced(): boolean {
    return this.#told >= 0
  }

  /** Whether the other side wants one of these topics. */
  isWanted(topics: readonly string[]): boolean {
    return topics.some((topic) => this.#wanted.has(topic))
  }

  /** Resolves when the other side has confirmed, is gone, or takes too long. */
  subscribe(topics: readonly string[]): Promise<void> {
    this.change(topics, true)
    const number = ++this.#subscribes
    if (this.#stuck) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#stuck = true
        this.#confirmed(number)
      }, CONFIRMATION).unref()
      this.#unconfirmed.set(number, () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** Topics are wanted here from now on, or no more. */
  change(topics: Iterable<string>, isWanted: boolean): void {
    for (const topic of topics) this.#changes.set(topic, isWanted)
    this.#poke()
  }

  /** The next record about topics; null where there is nothing to say. */
  next(): Buffer | null {
    // Before it has the first list it would not count this.
    if (this.#confirmFirst && this.isIntroduced) {
      this.#confirmFirst = false
      return confirmation(0)
    }
    if (this.#confirmLast > 0) {
      const number = this.#confirmLast
      this.#confirmLast = 0
      return confirmation(number)
    }
    const isLate = this.#told < this.#subscribes
    return this.#changes.size > 0 || isLate ? this.#nextList() : null
  }

  /** The other side subscribes. @returns which list has ended with this record */
  subscribed(body: Buffer): 'none' | 'first' | 'later' {
    const { number, topics } = readTopicList(body)
    for (const topic of topics) this.#wanted.add(topic)
    if (number === MORE) return 'none'
    if (number > 0) this.#confirmLast = number
    else this.#confirmFirst = true
    return number > 0 ? 'later' : 'first'
  }

  unsubscribed(body: Buffer): void {
    for (const topic of readTopicList(body).topics) this.#wanted.delete(topic)
  }

  /** The other side confirms. @returns whether it was the first list */
  confirmed(body: Buffer): boolean {
    const number = body.readUInt32BE(0)
    this.#stuck = false
    if (number > 0) this.#confirmed(number)
    return number === 0
  }

  /** The stream has ended: nothing waits for the other side. */
  clear(): void {
    for (const resolve of this.#unconfirmed.values()) resolve()
    this.#unconfirmed.clear()
    this.#changes.clear()
  }

  /** Topics of one kind, as many as one record takes. */
  #nextList(): Buffer {
    const topics: string[] = []
    let [kind, bytes] = [true, 0]
    for (const [topic, isWanted] of this.#changes) {
      if (topics.length === 0) kind = isWanted
      if (kind !== isWanted || bytes > LIST_BYTES) break
      topics.push(topic)
      bytes += topic.length
      this.#changes.delete(topic)
    }
    if (!kind) return topicList(RecordKind.unsubscribe, 0, topics)
    if (this.#changes.size > 0) return topicList(RecordKind.subscribe, MORE, topics)
    this.#told = this.#told === -1 ? 0 : this.#subscribes
    return topicList(RecordKind.subscribe, this.#told, topics)
  }

  /** Confirms a subscription, and all before it. */
  #confirmed(last: number): void {
    for (const [number, confirm] of this.#unconfirmed) {
      if (number > last) break
      this.#unconfirmed.delete(number)
      confirm()
    }
  }
}
