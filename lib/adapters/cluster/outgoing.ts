// The sending side of a stream: ordered payloads, and a bound that the largest publishers meet first.
import type { Socket } from 'node:net'
import { header, RecordKind } from './records.ts'

/**
 * The most bytes to write to the socket ahead. Records about the stream itself overtake the waiting
 * payloads.
 */
const WINDOW = 256 * 1024
/** The approximate memory of a waiting payload beyond its bytes. */
const OVERHEAD = 256
/** A payload up to this cost is exempt from the share of its topic: beats are this small. */
const TINY = 512
/** A topic may hold this multiple of the free space. */
const SHARE = 8

interface Waiting {
  readonly topic: string
  readonly payload: Buffer
  next: Waiting | null
  /** Promises that resolve when this payload is written to the socket. */
  given: (() => void)[] | null
}

/** The result of a publish on a stream. */
export type Admission = 'given' | 'waiting' | 'refused'

/** The functions of a stream that `Outgoing` uses. */
export interface RecordSource {
  /**
   * Whether the other side does not know this instance yet: it would discard payloads, so they
   * wait.
   */
  readonly isIntroducing: boolean
  /** Returns the next record about the stream itself, or null. */
  nextRecord(): Buffer | null
  /** Called when the socket still holds bytes at the end of a turn. */
  stayed(): void
}

/**
 * The sending side of a stream: payloads in the order of the calls, within a bound in bytes.
 *
 * The bound is shared as switches share their memory ("Dynamic queue length thresholds", Choudhury
 * and Hahne, 1998): each topic may hold a multiple of the free space, and each payload must leave
 * as much space free as it takes. So the largest publishers are refused first, and small messages
 * still pass.
 */
export class Outgoing {
  readonly #socket: Socket
  readonly #source: RecordSource
  readonly #most: number
  #first: Waiting | null = null
  #last: Waiting | null = null
  /** The waiting bytes by topic, and in total. */
  readonly #held = new Map<string, number>()
  #bytes = 0
  #corked = false

  constructor(socket: Socket, source: RecordSource, most: number) {
    this.#socket = socket
    this.#source = source
    this.#most = most
    socket.on('drain', () => this.poke())
  }

  /** The bytes that the socket has not accepted. */
  get waiting(): number {
    return this.#bytes + this.#socket.writableLength
  }

  /** Writes the records of the source at the end of this turn. */
  poke(): void {
    if (this.#corked || !this.#socket.writable) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(() => {
      this.#corked = false
      if (this.#socket.writable) this.#fill(WINDOW)
      this.#socket.uncork()
      if (this.waiting > 0) this.#source.stayed()
    })
  }

  /**
   * Publishes a payload: writes it, queues it or refuses it.
   *
   * @param isOwn whether the payload is from one instance to another. The sender bounds such
   * payloads, so that they get the same space again
   */
  publish(topic: string, payload: Buffer, isOwn: boolean): Admission {
    this.poke() // corks the socket: the payloads of one turn leave in one write, without copies
    const isIdle = this.#first === null && !this.#source.isIntroducing
    if (isIdle && this.#socket.writableLength < WINDOW) {
      this.#write(payload)
      return 'given'
    }
    const cost = payload.length + OVERHEAD
    const held = this.#held.get(topic) ?? 0
    if (!this.#admits(cost, held, isOwn)) return 'refused'
    const waiting: Waiting = { topic, payload, next: null, given: null }
    if (this.#last) this.#last.next = waiting
    else this.#first = waiting
    this.#last = waiting
    this.#held.set(topic, held + cost)
    this.#bytes += cost
    return 'waiting'
  }

  /** Resolves when all waiting payloads have been written to the socket, or discarded. */
  given(): Promise<void> {
    const last = this.#last
    if (!last) return Promise.resolve()
    return new Promise((resolve) => {
      last.given ??= []
      last.given.push(resolve)
    })
  }

  /** Writes everything to the socket at once, then a last record. */
  end(last: Buffer): void {
    this.#fill(Infinity)
    this.#socket.end(last)
  }

  /** Discards the waiting payloads. */
  clear(): void {
    for (let each = this.#first; each; each = each.next) for (const done of each.given ?? []) done()
    this.#first = null
    this.#last = null
    this.#held.clear()
    this.#bytes = 0
  }

  #admits(cost: number, held: number, isOwn: boolean): boolean {
    const free = this.#most - this.waiting
    if (isOwn) return free + this.#most >= cost
    return 2 * cost <= free && (cost <= TINY || held + cost <= SHARE * free)
  }

  #fill(window: number): void {
    const socket = this.#socket
    while (socket.writableLength < window) {
      const record = this.#source.nextRecord()
      if (!record) break
      socket.write(record)
    }
    for (let each = this.#first; each && socket.writableLength < window; each = this.#first) {
      this.#take(each)
      this.#write(each.payload)
    }
  }

  #take({ topic, payload, next, given }: Waiting): void {
    this.#first = next
    if (!next) this.#last = null
    const cost = payload.length + OVERHEAD
    const held = (this.#held.get(topic) ?? 0) - cost
    if (held > 0) this.#held.set(topic, held)
    else this.#held.delete(topic)
    this.#bytes -= cost
    for (const done of given ?? []) done()
  }

  #write(payload: Buffer): void {
    this.#socket.write(header(RecordKind.payload, payload.length))
    this.#socket.write(payload)
  }
}
