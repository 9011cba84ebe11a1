// The stream between two instances of one machine.

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { hasMoved, progressOf } from '../../connection/taken.ts'
import { type Admission, Outgoing, type RecordSource } from './outgoing.ts'
import { header, introduction, RecordKind, RecordReader, readIntroduction } from './records.ts'
import { StallWatch, type Watched } from './stall-watch.ts'
import { TopicExchange } from './topic-exchange.ts'

/** How long the other side may take to introduce itself, and may take nothing at the end, in milliseconds. */
const INTRODUCTION = 1_000
/** The end of a stream takes at most so many times as long. */
const GOODBYES = 5

/** What a stream tells its link. */
export interface StreamOwner {
  readonly id: string
  readonly topics: ReadonlySet<string>
  /** The other side has sent its id and its topics. */
  ready(stream: Stream): void
  /** The other side knows what is wanted here. Called once, after `ready`. */
  held(stream: Stream): void
  /** An instance wants to be connected to. */
  knocked(id: string): void
  received(payload: Buffer): void
  /** Called once, ready or not. @param bye whether it ended for good */
  ended(stream: Stream, bye: boolean): void
}

/** The bounds of a stream. */
export interface StreamBounds {
  /** Bytes that may wait for the other side. */
  readonly most: number
  /** How long the other side may take nothing while something waits for it, in milliseconds. */
  readonly patience: number
}

/** The stream between two instances. The one with the smaller id has made it. */
export class Stream implements RecordSource, Watched {
  /** The other side knows what is wanted here. */
  isHeld = false
  /** Since when it carries payloads: monotonic. */
  readyAt: number | null = null
  /** Why it was cut from this side; empty where it was not. */
  why = ''
  readonly #socket: Socket
  readonly #owner: StreamOwner
  readonly #outgoing: Outgoing
  readonly #watch: StallWatch
  readonly #reader = new RecordReader((kind, body) => this.#read(kind, body))
  readonly #topics: TopicExchange
  /** The time limit of the greeting, and later of the end. */
  #deadline: NodeJS.Timeout
  #peer: string | null
  /** The introduction of this side: not begun, due, and said. */
  #introduced: 'no' | 'due' | 'said' = 'no'
  #bye = false
  #over = false
  #ended: (() => void) | null = null

  /** @param peer the instance that it leads to; null where its first record tells */
  constructor(socket: Socket, owner: StreamOwner, peer: string | null, bounds: StreamBounds) {
    this.#socket = socket
    this.#owner = owner
    this.#peer = peer
    this.#outgoing = new Outgoing(socket, this, bounds.most)
    this.#topics = new TopicExchange(() => this.#outgoing.poke())
    this.#watch = new StallWatch(socket, this, bounds.patience)
    socket.unref()
    this.#deadline = setTimeout(() => {
      // It may have been this process that stood still: what has come by now is read first.
      setImmediate(() => {
        if (this.readyAt === null) this.destroy('it did not identify itself in time')
      })
    }, INTRODUCTION).unref()
    socket.on('data', (chunk: Buffer) => this.#arrived(chunk))
    socket.on('error', () => this.destroy())
    socket.on('close', () => this.#end())
    socket.on('end', () => this.destroy())
    if (peer !== null) this.#introduce()
  }

  /** The other side; empty until it has said so. */
  get peer(): string {
    return this.#peer ?? ''
  }

  /** Bytes that wait for the other side. */
  get waiting(): number {
    return this.#outgoing.waiting
  }

  /** Resolves when the other side has confirmed, is gone, or takes too long. */
  subscribe(topics: readonly string[]): Promise<void> {
    // It gets them with the introduction.
    if (this.#over || this.#introduced === 'no') return Promise.resolve()
    return this.#topics.subscribe(topics)
  }

  unsubscribe(topics: readonly string[]): void {
    if (this.#introduced !== 'no') this.#topics.change(topics, false)
  }

  /** @returns null where the other side does not want it */
  publish(topics: readonly string[], payload: Buffer, isOwn: boolean): Admission | null {
    if (this.readyAt === null || this.#over || this.#bye) return null
    if (!this.#topics.isWanted(topics)) return null
    return this.#outgoing.publish(topics[0] ?? '', payload, isOwn)
  }

  /** Resolves when the socket was given all that waits now, or is gone. */
  given(): Promise<void> {
    return this.#outgoing.given()
  }

  /** Says that it ends for good. Resolves when the other side has read everything, or takes too long. */
  bye(): Promise<void> {
    if (this.#over || this.readyAt === null) {
      this.destroy()
      return Promise.resolve()
    }
    this.#bye = true
    this.#socket.ref() // what was published has to leave before the process ends
    this.#outgoing.end(header(RecordKind.bye, 0))
    let before = progressOf(this.#socket)
    let left = GOODBYES
    this.#deadline = setInterval(() => {
      const now = progressOf(this.#socket)
      if (!hasMoved(before, now) || --left === 0) this.destroy('it did not end in time')
      before = now
    }, INTRODUCTION)
    return new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  destroy(why = ''): void {
    if (!this.#over) this.why = why
    this.#socket.destroy()
    this.#end()
  }

  // ---- Watched

  get isSending(): boolean {
    return this.#outgoing.waiting > 0
  }

  get isReceiving(): boolean {
    return this.#reader.isPartial
  }

  stalled(): void {
    this.destroy(`no progress, with ${this.waiting} bytes queued for it`)
  }

  // ---- RecordSource

  get isIntroducing(): boolean {
    return !this.#topics.isIntroduced
  }

  /** Lists of topics are made when there is room for them: what has not left is kept once for each topic. */
  nextRecord(): Buffer | null {
    if (this.#introduced === 'due') {
      this.#introduced = 'said'
      return introduction(RecordKind.hello, this.#owner.id)
    }
    return this.#introduced === 'no' ? null : this.#topics.next()
  }

  stayed(): void {
    this.#watch.start()
  }

  // ---- the rest

  #introduce(): void {
    this.#introduced = 'due'
    this.#topics.change(this.#owner.topics, true)
  }

  #arrived(chunk: Buffer): void {
    try {
      this.#reader.push(chunk)
    } catch {
      this.destroy('it sent malformed data')
    }
    if (this.#over) return
    if (this.#reader.isPartial) this.#watch.start()
    // Long lists take long.
    if (this.readyAt === null && this.#introduced !== 'no') this.#deadline.refresh()
  }

  #read(kind: number, body: Buffer): void {
    if (this.#over) return
    switch (kind) {
      case RecordKind.hello:
        this.#hello(readIntroduction(body))
        break
      case RecordKind.knock: {
        const id = readIntroduction(body)
        if (id !== null) this.#owner.knocked(id)
        this.destroy()
        break
      }
      case RecordKind.subscribe: {
        const list = this.#topics.subscribed(body)
        if (list === 'first') this.#known()
        if (list !== 'none' && !this.#over) this.#outgoing.poke()
        break
      }
      case RecordKind.unsubscribe:
        this.#topics.unsubscribed(body)
        break
      case RecordKind.subscribed:
        if (this.#topics.confirmed(body) && this.readyAt !== null && !this.isHeld) {
          this.isHeld = true
          this.#owner.held(this)
        }
        break
      case RecordKind.payload:
        if (this.readyAt === null) throw new RangeError('a payload before the hello')
        this.#owner.received(body)
        break
      case RecordKind.bye:
        this.#bye = true
        break
      default:
        throw new RangeError('the kind of a record is unknown')
    }
  }

  #hello(id: string | null): void {
    if (id === null || (this.#peer !== null && this.#peer !== id))
      throw new RangeError('the hello names another instance')
    if (this.#peer !== null) return
    this.#peer = id
    this.#introduce()
  }

  /** The first topics have come. */
  #known(): void {
    if (this.readyAt !== null || this.#peer === null) return
    this.readyAt = performance.now()
    clearTimeout(this.#deadline)
    this.#owner.ready(this)
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#deadline)
    this.#watch.stop()
    this.#topics.clear()
    this.#outgoing.clear()
    this.#owner.ended(this, this.#bye)
    this.#ended?.()
  }
}
