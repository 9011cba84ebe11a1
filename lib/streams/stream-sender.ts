// `StreamSender`: runs the generator of a handler, and sends its items as far as the client's credit allows.
import { KoaWsError } from '../errors.ts'
import { itemSize, MAX_CREDIT, type StreamAnswer } from '../protocol/streams.ts'
import { isAbortOf } from './abort.ts'
import { streamFault } from './faults.ts'
import type { HeldBytes } from './held-bytes.ts'
import { KeptItems } from './kept-items.ts'

/** The client's end of a stream: a connection of this instance, or of another one. */
export interface StreamSink {
  /** Sends an item, as JSON; `index` counts from 0. */
  item(json: string, index: number): void
  /** Sends the answer, after the last item. */
  answer(answer: StreamAnswer): void
  /** The stream has ended, or the client has resumed it elsewhere: nothing more is sent here. */
  replaced(): void
}

/** What a sender asks of its request. */
export interface SenderHost {
  /** The id of the request. */
  readonly id: number
  /** Whether the stream goes on without a connection, and for how long, in milliseconds; null if it does not. */
  readonly resume: number | null
  /** The most time without credit, in milliseconds. */
  readonly idle: number
  /** Counts the bytes that are kept. */
  readonly held: HeldBytes
  count(reason: 'streamIdle' | 'streamLost'): void
  /** Returns an item as JSON. @throws what keeps the value from being an item */
  encode(value: unknown): string
  /** The stream, with what was kept of it, is of no use any more. */
  forgotten(): void
}

/** The generator of a handler. */
type Iteration = AsyncIterator<unknown, unknown> | Iterator<unknown, unknown>

/**
 * Sends the items of one handler. It asks the generator for an item when the one before is sent and the
 * client has credit. With `resume`, it keeps what the client may not have received, and the generator goes
 * on without a connection until that is full.
 */
export class StreamSender {
  readonly #host: SenderHost
  readonly #controller = new AbortController()
  #sink: StreamSink | null
  /** What the client allows, in bytes. */
  #credit: number
  /** The items that may have to be sent again. Without `resume`, sent items are not kept. */
  readonly #kept: KeptItems
  /** The index of the next item to send. */
  #next = 0
  #iterator: Iteration | null = null
  #returning: Promise<unknown> | null = null
  #answer: StreamAnswer | null = null
  /** The answer was handed to the sink. */
  #isAnswered = false
  /** The client has cancelled, left or lost the stream: nothing more is sent. */
  #isOver = false
  #fault: unknown
  #wake: (() => void) | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(host: SenderHost, sink: StreamSink, credit: number) {
    this.#host = host
    this.#kept = new KeptItems(host.held)
    this.#sink = sink
    this.#credit = Math.min(credit, MAX_CREDIT)
  }

  /** Aborts when the stream is cancelled, or cannot go on. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Whether the stream is of no use any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether the client was given the answer, so that only a cut would need what is kept. */
  get isAnswered(): boolean {
    return this.#isAnswered
  }

  /** The number of items so far. */
  get items(): number {
    return this.#kept.end
  }

  /**
   * Runs a generator to its end. Returns what it returns; undefined after a cancel.
   * @throws what it throws, and the fault that ended the stream
   */
  async run(iterable: AsyncIterable<unknown> | Iterable<unknown>): Promise<unknown> {
    const iterator = iterate(iterable)
    this.#iterator = iterator
    if (this.#isEnding) this.#return()
    try {
      while (!this.#isEnding) {
        if (!this.#mayGoOn) {
          await this.#room()
          continue
        }
        const step = await iterator.next()
        if (step.done) {
          this.#iterator = null
          if (!this.#isEnding) return step.value
        } else if (!this.#isEnding) this.#put(step.value)
      }
    } catch (error) {
      if (!isAbortOf(error, this.signal)) {
        this.#return()
        await this.#returned()
        throw error
      }
    }
    await this.#returned()
    if (this.#fault !== undefined) throw this.#fault
    return undefined
  }

  /** Grants credit; `items` is the number of items that the client has taken. */
  grant(bytes: number, items: number): void {
    this.#credit = Math.min(this.#credit + bytes, MAX_CREDIT)
    this.#kept.forget(Math.min(items, this.#next))
    this.#pump()
  }

  /** Ends the stream with an answer, after the items; after a fault without them. */
  end(answer: StreamAnswer): void {
    if (this.#isOver || this.#answer) return
    this.#answer = answer
    if (this.#fault !== undefined) this.#next = this.items
    this.#pump()
  }

  /** Cancels the stream: its signal aborts, and the generator returns. Without a reason, with an `AbortError`. */
  cancel(reason?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rest()
    this.#kept.forget(this.items)
    const sink = this.#sink
    this.#sink = null
    this.#stop(reason)
    this.#host.forgotten()
    sink?.replaced()
  }

  /** Ends the stream with a fault: `run()` throws it, and the client gets it as the answer. */
  fail(fault: Error): void {
    if (this.#isEnding || this.#answer) return
    this.#fault = fault
    this.#rest()
    this.#stop(fault)
  }

  /** The sink has gone. Without `resume`, that cancels the stream. */
  detach(sink: StreamSink, reason: unknown): void {
    if (sink !== this.#sink) return
    const { resume } = this.#host
    if (resume === null || this.#isOver) {
      this.cancel(reason)
      return
    }
    this.#sink = null
    this.#wait(resume, () => this.#expired())
    this.#wake?.()
  }

  /** Goes on at another sink, after `since` items. Returns false if that is not possible. */
  attach(sink: StreamSink, since: number, credit: number): boolean {
    if (this.#isOver || this.#host.resume === null) return false
    if (since < this.#kept.first || since > this.items) return false
    if (this.#sink && this.#sink !== sink) this.#sink.replaced()
    this.#sink = sink
    this.#rest()
    this.#next = since
    this.#kept.forget(since)
    this.#credit = Math.min(credit, MAX_CREDIT)
    this.#isAnswered = false
    this.#pump()
    return true
  }

  get #isEnding(): boolean {
    return this.#isOver || this.#fault !== undefined
  }

  /** Whether the generator may make an item now. */
  get #mayGoOn(): boolean {
    if (this.#host.resume !== null && this.#kept.bytes >= MAX_CREDIT) return false
    return this.#sink === null || (this.#credit > 0 && this.#next === this.items)
  }

  #put(value: unknown): void {
    const host = this.#host
    if (this.#answer) throw alreadyAnswered()
    const json = host.encode(value)
    const size = itemSize(host.id, json)
    if (host.resume !== null) {
      this.#kept.add(json, size)
      this.#pump()
      return
    }
    this.#credit -= size
    this.#kept.skip()
    this.#next++
    this.#sink?.item(json, this.#next - 1)
  }

  /** Sends what is kept, as far as the credit allows, and then the answer. */
  #pump(): void {
    while (this.#sink && this.#credit > 0 && this.#next < this.items) {
      const { json, size } = this.#kept.at(this.#next)
      this.#credit -= size
      this.#next++
      this.#sink.item(json, this.#next - 1)
    }
    if (this.#answer && this.#sink && !this.#isAnswered && this.#next === this.items) {
      this.#isAnswered = true
      this.#rest()
      this.#sink.answer(this.#answer)
      if (this.#host.resume === null) this.cancel()
      else this.#wait(this.#host.resume, () => this.cancel()) // a client that has it sends koaws:cancel
    }
    this.#wake?.()
  }

  /** Waits until something changes. A reader that takes nothing for too long ends the stream. */
  async #room(): Promise<void> {
    const isIdle = this.#sink !== null
    if (isIdle) this.#wait(this.#host.idle, () => this.#idled())
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = null
    if (isIdle && this.#sink) this.#rest()
  }

  #idled(): void {
    this.#host.count('streamIdle')
    this.fail(streamFault('ERR_KOAWS_STREAM_IDLE'))
  }

  #expired(): void {
    this.#host.count('streamLost')
    this.cancel(streamFault('ERR_KOAWS_STREAM_LOST', this.items))
  }

  /** Stops the generator. A handler that has answered has ended by itself. */
  #stop(reason: unknown): void {
    this.#return()
    if (!this.#answer) this.#controller.abort(reason)
    this.#wake?.()
  }

  /** Makes the generator run its `finally`: at once if it is at a `yield`, otherwise at the next. */
  #return(): void {
    const iterator = this.#iterator
    if (iterator === null || this.#returning !== null) return
    this.#returning = (async () => iterator.return?.())()
    this.#returning.catch(ignore)
  }

  /** @throws what the generator throws on its way out, except the reason of the abort */
  async #returned(): Promise<void> {
    try {
      await this.#returning
    } catch (error) {
      if (!isAbortOf(error, this.signal)) throw error
    }
  }

  #wait(delay: number, end: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(end, delay).unref()
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

/** Returns whether the result of a handler is a stream: an async iterable, or a generator. */
export function isStream(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof value !== 'object' || value === null) return false
  return (
    Symbol.asyncIterator in value ||
    (Symbol.iterator in value && 'next' in value && typeof value.next === 'function')
  )
}

function alreadyAnswered(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_ALREADY_REPLIED',
    'An item came after the answer: return the reply from the generator, or call message.reply() last.',
  )
}

function iterate(iterable: AsyncIterable<unknown> | Iterable<unknown>): Iteration {
  return Symbol.asyncIterator in iterable
    ? iterable[Symbol.asyncIterator]()
    : iterable[Symbol.iterator]()
}

function ignore(): void {}
