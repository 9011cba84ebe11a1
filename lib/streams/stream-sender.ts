// `StreamSender`: runs the generator of a handler, and sends its items as far as the client's credit allows.
import { KoaWsError } from '../errors.ts'
import { errorAnswer, itemSize, MAX_CREDIT, type StreamAnswer } from '../protocol/streams.ts'
import { abortError, isAbortOf } from './abort.ts'
import { streamFault, streamFaultBody } from './faults.ts'
import type { HeldBytes } from './held-bytes.ts'
import { Iteration } from './iteration.ts'
import { KeptItems } from './kept-items.ts'
import { type Awaited, StreamTimer } from './stream-timer.ts'

/** The client's end of a stream: a connection of this instance, or of another one. */
export interface StreamSink {
  /** Grows with each time that the client sends the request. */
  readonly attempt: number
  /** Sends an item, as JSON; `index` counts from 0. */
  item(json: string, index: number): void
  /** Sends the answer, after the last item. */
  answer(answer: StreamAnswer): void
  /** Nothing more is sent here: the stream is lost, or has ended, or was resumed elsewhere. */
  replaced(isLost: boolean): void
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

/**
 * Sends the items of one handler. It asks the generator for an item when the one before is sent and the
 * client has credit. With `resume`, it keeps what the client may not have received, and the generator goes
 * on without a connection until that is full.
 */
export class StreamSender {
  /** Settles when it is decided whether the stream runs on this instance; null after that. */
  claimed: Promise<void> | null = null
  readonly #host: SenderHost
  readonly #controller = new AbortController()
  /** What the message of an item counts beside its data. */
  readonly #overhead: number
  /** The items that may have to be sent again. Without `resume`, sent items are not kept. */
  readonly #kept: KeptItems
  #sink: StreamSink | null
  /** What the client allows, in bytes. */
  #credit: number
  /** The index of the next item to send. */
  #next = 0
  #iteration: Iteration | null = null
  #answer: StreamAnswer | null = null
  /** The answer was handed to the sink. */
  #isAnswered = false
  /** The client has cancelled, left or lost the stream: nothing more is sent. */
  #isOver = false
  /** The handler has ended: an abort would tell it nothing. */
  #isSettled = false
  #isStuck = false
  #fault: unknown
  #wake: (() => void) | null = null
  readonly #timer: StreamTimer

  constructor(host: SenderHost, sink: StreamSink, credit: number) {
    this.#host = host
    this.#overhead = itemSize(host.id, '')
    this.#kept = new KeptItems(host.held)
    this.#sink = sink
    this.#credit = Math.min(credit, MAX_CREDIT)
    this.#timer = new StreamTimer(
      (awaited) => (awaited === 'credit' ? host.idle : (host.resume ?? 0)),
      (awaited) => this.#timeout(awaited),
    )
  }

  /** Aborts when the stream is cancelled, or cannot go on. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Whether the stream is of no use any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether a connection has the stream now. */
  get isAttached(): boolean {
    return this.#sink !== null
  }

  /** Whether the client was given the answer, so that only a cut would need what is kept. */
  get isAnswered(): boolean {
    return this.#isAnswered
  }

  get items(): number {
    return this.#kept.end
  }

  /**
   * Runs a generator to its end. Returns what it returns; undefined after a cancel.
   * @throws what it throws, and the fault that ended the stream
   */
  async run(iterable: AsyncIterable<unknown> | Iterable<unknown>): Promise<unknown> {
    const iteration = new Iteration(iterable)
    this.#iteration = iteration
    if (this.#isEnding) iteration.stop()
    try {
      while (!this.#isEnding) {
        if (!this.#mayGoOn) await this.#room()
        if (this.#isEnding) break
        const step = await iteration.next()
        if (this.#isEnding) break
        if (step.done) return step.value
        this.#put(step.value)
      }
    } catch (error) {
      if (!isAbortOf(error, this.signal)) {
        iteration.stop()
        // The first error counts, as in a `for await` loop.
        await iteration.stopped(this.signal).catch(ignore)
        throw error
      }
    }
    await iteration.stopped(this.signal)
    if (this.#fault !== undefined) throw this.#fault
    return undefined
  }

  /** The handler has ended, so that nothing of it is stopped any more. */
  settled(): void {
    this.#isSettled = true
  }

  /** Grants credit; `items` is the number of items that the client has taken. */
  grant(bytes: number, items: number): void {
    const before = this.#next + this.#kept.first
    this.#credit = Math.min(this.#credit + bytes, MAX_CREDIT)
    this.#kept.forget(Math.min(items, this.#next))
    this.#pump()
    // Only progress gives the client more time: a credit of 0 bytes does not.
    if (this.#next + this.#kept.first > before) this.#timer.restart()
    this.#arm()
  }

  /** Ends the stream with an answer, after the items; after a fault without them. */
  end(answer: StreamAnswer): void {
    if (this.#isOver || this.#answer) return
    if (this.#fault !== undefined) this.#next = this.items
    const isKept = this.#host.resume === null || this.#kept.addAnswer(answer.json)
    const isDue = this.#sink !== null && this.#next === this.items
    this.#answer = isKept || isDue ? answer : MEMORY
    this.#pump()
    if (!isKept && isDue) this.cancel() // sent, and forgotten: it cannot be sent again
  }

  /** Cancels the stream: its signal aborts, and the generator returns. Without a reason, with an `AbortError`. */
  cancel(reason: unknown = abortError(), isLost = false): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#arm()
    this.#kept.clear()
    const sink = this.#sink
    this.#sink = null
    this.#stop(reason)
    this.#host.forgotten()
    sink?.replaced(isLost)
  }

  /** The sink has gone. Without `resume`, that cancels the stream. */
  detach(sink: StreamSink, reason: unknown): void {
    if (sink !== this.#sink) return
    if (this.#host.resume === null) this.cancel(reason)
    else {
      this.#sink = null
      this.#arm()
      this.#wake?.()
    }
  }

  /** Goes on at another sink after `since` items, `taken` of them for certain. Returns false if it cannot, or a later attempt has it. */
  attach(sink: StreamSink, since: number, credit: number, taken: number = since): boolean {
    const old = this.#sink
    if (this.#isOver || this.#host.resume === null || sink.attempt < (old?.attempt ?? 0))
      return false
    if (since < this.#kept.first || since > this.items) return false
    this.#sink = sink
    if (old !== sink) this.#timer.restart()
    this.#next = since
    this.#kept.forget(Math.min(taken, since))
    this.#credit = Math.min(credit, MAX_CREDIT)
    this.#isAnswered = false
    if (old !== sink) old?.replaced(false)
    this.#pump()
    return true
  }

  get #isEnding(): boolean {
    return this.#isOver || this.#fault !== undefined
  }

  /** Whether the generator may make an item now. After an early answer it may end; an item is an error then. */
  get #mayGoOn(): boolean {
    if (this.#answer) return true
    if (this.#host.resume !== null && this.#kept.bytes >= MAX_CREDIT) return false
    return this.#sink === null || (this.#credit > 0 && this.#next === this.items)
  }

  #put(value: unknown): void {
    const host = this.#host
    if (this.#answer) throw alreadyAnswered()
    const json = host.encode(value)
    const size = Buffer.byteLength(json) + this.#overhead
    if (host.resume !== null) {
      this.#kept.add(json, size)
      this.#pump()
      return
    }
    this.#credit -= size
    this.#kept.skip()
    this.#sink?.item(json, this.#next++)
  }

  /** Sends what is kept, as far as the credit allows, and then the answer. */
  #pump(): void {
    while (this.#sink && this.#credit > 0 && this.#next < this.items) {
      const { json, size } = this.#kept.at(this.#next)
      this.#credit -= size
      this.#sink.item(json, this.#next++)
    }
    if (this.#answer && this.#sink && !this.#isAnswered && this.#next === this.items) {
      this.#isAnswered = true // a client that may resume and has it sends koaws:cancel
      this.#sink.answer(this.#answer)
    }
    this.#arm()
    this.#wake?.()
  }

  /** Waits until the generator may go on, or the stream ends. */
  async #room(): Promise<void> {
    this.#isStuck = true
    this.#arm()
    while (!this.#isEnding && !this.#mayGoOn) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = null
    }
    this.#isStuck = false
    this.#arm()
  }

  /** Stops the generator. */
  #stop(reason: unknown): void {
    if (!this.#isSettled) this.#controller.abort(reason)
    this.#iteration?.stop()
    this.#wake?.()
  }

  /** Sets the timer that the state asks for. */
  #arm(): void {
    let awaited: Awaited | null = null
    if (this.#isAnswered) awaited = this.#host.resume === null ? null : 'end'
    else if (this.#sink === null) awaited = 'return'
    else if (this.#answer || (this.#isStuck && this.#fault === undefined)) awaited = 'credit'
    this.#timer.set(this.#isOver ? null : awaited)
  }

  #timeout(awaited: Awaited): void {
    if (awaited === 'end') this.cancel()
    else if (awaited === 'return') {
      this.#host.count('streamLost')
      this.cancel(streamFault('ERR_KOAWS_STREAM_LOST', this.items))
    } else {
      this.#host.count('streamIdle')
      if (this.#answer === null) {
        this.#fault = streamFault('ERR_KOAWS_STREAM_IDLE')
        this.#stop(this.#fault)
        return
      }
      this.#answer = errorAnswer(streamFaultBody('ERR_KOAWS_STREAM_IDLE'))
      this.#next = this.items
      this.#pump()
    }
  }
}

/** In place of an answer that cannot be kept for a client that is away. */
const MEMORY = errorAnswer(streamFaultBody('ERR_KOAWS_STREAM_MEMORY'))

function alreadyAnswered(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_ALREADY_REPLIED',
    'An item came after the answer: return the reply from the generator, or call message.reply() last.',
  )
}

function ignore(): void {}
