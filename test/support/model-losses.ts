import { performance } from 'node:perf_hooks'
import type { Loss } from '../../lib/backplane/order.ts'

/** Milliseconds that a message may be in transit while something else happens. */
export const MARGIN = 25

/** The fields of a published message that are compared. */
interface Published {
  readonly key: string
  readonly from: string
  readonly rooms: readonly string[]
  readonly at: number
}

interface Span {
  readonly from: number
  to: number
}

/**
 * Subscriptions and arrivals of one instance in one round, to compare its reports of losses with.
 */
export class LossEvidence {
  /** `origin number room` */
  readonly #arrived = new Set<string>()
  readonly #spans = new Map<string, Span[]>()
  readonly #left = new Set<string>()
  readonly #joined = new Set<string>()
  /**
   * By room and origin: messages that were missing in the previous round, and not reported by its
   * end.
   */
  #unreported = new Map<string, number>()
  #longestWay = 0

  subscribed(room: string): void {
    const spans = this.#spans.get(room) ?? []
    spans.push({ from: performance.now(), to: Infinity })
    this.#spans.set(room, spans)
  }

  unsubscribed(room: string): void {
    const span = this.#spans.get(room)?.at(-1)
    if (span) span.to = performance.now()
  }

  arrived(key: string, rooms: readonly string[]): void {
    for (const room of rooms) this.#arrived.add(`${key} ${room}`)
  }

  /** Records the transit time of a payload of any kind, in milliseconds. */
  took(way: number): void {
    this.#longestWay = Math.max(this.#longestWay, way)
  }

  joined(peer: string): void {
    this.#joined.add(peer)
  }

  left(peer: string): void {
    this.#left.add(peer)
  }

  /**
   * Returns the reports of losses that the evidence contradicts. A room may be reported with as
   * many messages as did not arrive while it was subscribed, and were published then or shortly
   * before: the age of a position leaves out its transit. On a busy machine a report may come in
   * the next round. A count of 0, an unknown number, is for instances that have left.
   */
  contradictions(losses: readonly Loss[], messages: Iterable<Published>): string[] {
    const missing = new Map<string, number>()
    for (const message of messages) {
      for (const room of message.rooms) {
        if (this.#arrived.has(`${message.key} ${room}`)) continue
        if (!this.#wasSubscribed(room, message.at)) continue
        const at = `room:${room} ${message.from}`
        missing.set(at, (missing.get(at) ?? 0) + 1)
      }
    }
    const wrong: string[] = []
    const counts = new Map<string, number>()
    for (const { topic, from, count } of losses) {
      const at = `${topic} ${from}`
      if (count > 0) counts.set(at, (counts.get(at) ?? 0) + count)
      // An instance that came and went during an outage was never heard, and may have published anything.
      else if (!this.#left.has(from) && this.#joined.has(from))
        wrong.push(`${at} may have lost something, without a reason`)
    }
    for (const [at, count] of counts) {
      const before = this.#unreported.get(at) ?? 0
      const most = before + (missing.get(at) ?? 0)
      if (count > most) wrong.push(`${at}: ${count} are reported lost, and ${most} are missing`)
      missing.set(at, Math.min(missing.get(at) ?? 0, most - count))
    }
    this.#unreported = missing
    return wrong
  }

  /** Ends a round, with everything that was in transit. */
  clear(): void {
    this.#arrived.clear()
    this.#left.clear()
    this.#longestWay = 0
    for (const [room, spans] of this.#spans) {
      const open = spans.filter(({ to }) => to === Infinity)
      if (open.length > 0) this.#spans.set(room, open)
      else this.#spans.delete(room)
    }
  }

  #wasSubscribed(room: string, at: number): boolean {
    const slack = 2 * MARGIN + this.#longestWay
    const spans = this.#spans.get(room) ?? []
    return spans.some(({ from, to }) => at > from - slack && at < to + slack)
  }
}
