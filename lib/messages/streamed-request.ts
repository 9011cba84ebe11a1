// One request with a stream, at the connection of its client.

import { closedError } from '../connection/ending.ts'
import { fieldsOf, isCount } from '../fields.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import {
  answerText,
  errorAnswer,
  isResuming,
  itemText,
  type StreamAnswer,
  type StreamedEnvelope,
} from '../protocol/streams.ts'
import { abortError } from '../streams/abort.ts'
import { streamFault, streamFaultBody } from '../streams/faults.ts'
import { isStream } from '../streams/iteration.ts'
import type { ResumingSink, StreamSource } from '../streams/pull.ts'
import type { StreamReceiver } from '../streams/stream-receiver.ts'
import type { StreamSender } from '../streams/stream-sender.ts'
import { streamName } from '../streams/streams.ts'
import { isThenable } from '../thenable.ts'
import { claimOf, type StreamClaim } from './stream-claim.ts'
import { afterAnswer, keyInUse, unasked, withoutItems } from './stream-errors.ts'
import { createReceiver, createSender, type PartsHost } from './stream-parts.ts'
import type { StreamedRoute } from './stream-route.ts'
import { findStream } from './stream-search.ts'

/** What a request with a stream asks of its conversation. */
export interface StreamHost extends PartsHost {
  readonly path: string
  /** Sends an item; tells the request if it is dropped. */
  sendItem(text: string, request: StreamedRequest, index: number): void
  /** The client has broken the protocol. */
  offend(body: ErrorBody, id: number): void
  /** An item within the credit: it does not count as a flood. */
  forgive(bytes: number): void
  /** Nothing more is sent or heard with this id. */
  forget(request: StreamedRequest): void
  /** The handler has settled, or is not called. */
  settled(request: StreamedRequest): void
}

/** One request with a stream: what the client sends with its id, and what the handler sends back. */
export class StreamedRequest implements ResumingSink {
  readonly id: number
  readonly type: string
  /** Grows with each time that the client sends the request. */
  readonly attempt: number
  readonly isResuming: boolean
  /** Resolves when the handler was called: the next message need not wait for its end. */
  readonly begun: Promise<void>
  readonly #host: StreamHost
  readonly #route: StreamedRoute
  readonly #envelope: StreamedEnvelope
  /** Null for a request that resumes a stream, unless that begins here. */
  sender: StreamSender | null
  /** Of a stream that can be resumed, and that instances record. */
  #claim: StreamClaim | null
  readonly #receiver: StreamReceiver | null
  /** Where the items come from; null while a resumed stream is looked for. */
  #source: StreamSource | null
  /** The same, if the generator runs on this instance. */
  #local: StreamSender | null
  #begin: () => void = () => {}
  /** Whether its connection has ended. */
  isCut = false
  #isGone = false
  #isAnswered = false
  #isCancelled = false
  /** Credit that came while a resumed stream was looked for. */
  readonly #early = { bytes: 0, items: 0 }
  /** Ends the wait of a request that resumes a stream. */
  #settle: () => void = () => {}

  constructor(envelope: StreamedEnvelope, route: StreamedRoute, host: StreamHost) {
    const { id, type, upload, attempt = 0 } = envelope
    this.id = id
    this.attempt = attempt
    this.type = type
    this.#host = host
    this.#route = route
    this.#envelope = envelope
    this.begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    const isOver = (): boolean => this.#isGone || this.#isAnswered
    this.isResuming = isResuming(envelope)
    const sender = this.isResuming ? null : createSender(this, envelope, route, this.#name, host)
    this.sender = this.#source = this.#local = sender
    this.#claim = claimOf(sender, this.#name, envelope, host)
    this.#receiver = upload && !this.isResuming ? createReceiver({ id, isOver }, route, host) : null
  }

  /** Aborts when the client cancels, and when the stream cannot go on; undefined for a resumed one. */
  get signal(): AbortSignal | undefined {
    return this.sender?.signal
  }

  /** The items of the client. @throws MessageError `ERR_KOAWS_STREAM` if the request has none */
  get upload(): AsyncIterableIterator<unknown> {
    if (this.#receiver) return this.#receiver
    throw withoutItems(this.type)
  }

  /** Whether the request needs no answer of the handler: it was cancelled, or resumes a stream. */
  get isUnanswerable(): boolean {
    return this.sender === null || this.sender.isOver
  }

  /** Whether the handler is not to be called any more. A stream that can be resumed outlives its connection. */
  get isDropped(): boolean {
    return this.sender ? this.sender.isOver : this.#isGone
  }

  /** Whether the answer was sent. The client may use the id again. */
  get isAnswered(): boolean {
    return this.#isAnswered
  }

  /**
   * Runs the handler, and sends the items that it makes; or goes on with a stream that has begun.
   * Returns the reply.
   * @throws what the handler throws, and the fault that ended the stream
   */
  async run(handle: () => unknown, canResume: boolean): Promise<unknown> {
    if (this.isResuming) {
      this.#begin()
      if (!(await this.#resume(canResume))) return undefined
    } else if (this.#claim && !(await this.#claim.isFirst())) throw keyInUse()
    const sender = this.sender
    if (sender === null) return undefined
    try {
      if (sender.isOver) return undefined
      const called = handle()
      this.#begin()
      const result: unknown = isThenable(called) ? await called : called
      if (!isStream(result)) return result
      if (this.#envelope.credit === undefined) throw unasked(result, this.type)
      return await sender.run(result)
    } finally {
      this.#begin()
      sender.settled()
      this.#claim?.over()
      // A handler that has not read all: the client stops.
      void this.#receiver?.return()
    }
  }

  /** Ends the stream with an answer, after the items. */
  end(answer: StreamAnswer): void {
    if (this.sender) this.sender.end(answer)
    else if (!this.#isGone) {
      this.answer(answer)
      this.#leave(undefined)
    }
  }

  /** Takes a message of the client with this id. */
  hear({ type, data }: Envelope, bytes: number): void {
    if (type === 'koaws:credit') this.#granted(data)
    else if (type === 'koaws:item') this.#arrived(data, bytes)
    else if (type === 'koaws:end') this.#receiver?.end()
    else this.cancel(undefined)
  }

  /** Cancels the stream: nothing more is sent, and the generator returns. */
  cancel(reason: unknown): void {
    this.#isCancelled = true
    this.#leave(reason ?? abortError())
    this.#source?.cancel(reason)
  }

  /** The connection has ended: a stream with `resume` goes on. */
  closed(): void {
    const error = closedError()
    this.isCut = true
    this.#leave(error)
    this.#source?.detach(this, error)
  }

  /** The instance ends: the client is told that the stream does, unless another instance has it. */
  shutDown(): void {
    if (this.#local === null) return
    if (!this.#isAnswered) this.#tellLost(this.#local.items)
    this.cancel(streamFault('ERR_KOAWS_STREAM_LOST'))
  }

  /** The handler has settled, or is not called. */
  settled(): void {
    this.#claim?.decide()
    this.#host.settled(this)
  }

  // ---- the sink of the items

  item(json: string, index: number): void {
    this.#host.sendItem(itemText(this.id, json), this, index)
  }

  /** The item with this index was dropped, since the client is too slow: the stream cannot go on. */
  dropped(index: number): void {
    if (this.#isGone || this.#isAnswered) return
    this.#tellLost(index)
    this.cancel(streamFault('ERR_KOAWS_STREAM_LOST', index))
  }

  answer(answer: StreamAnswer): void {
    this.#isAnswered = true
    this.#host.send(answerText(this.id, answer))
    this.#settle()
    this.#receiver?.fail(afterAnswer(this.type))
    if (this.sender === null || this.#name !== null) return // it may be sent again
    this.#leave(undefined)
  }

  replaced(isLost: boolean): void {
    if (isLost && !this.#isGone && !this.#isAnswered) this.#tellLost(this.#local?.items)
    this.#leave(closedError())
  }

  /** The name under which the stream can be resumed, or null. */
  get #name(): string | null {
    const { key, credit } = this.#envelope
    if (!this.#route.resume || key === undefined || credit === undefined) return null
    return streamName(this.#host.user, this.#host.path, this.type, key)
  }

  #tellLost(items: number | undefined): void {
    this.#host.count('streamLost')
    this.#isAnswered = true
    const lost = errorAnswer(streamFaultBody('ERR_KOAWS_STREAM_LOST', items))
    this.#host.send(answerText(this.id, lost))
  }

  /** Goes on with the stream, until the client has all. Returns true if it begins here: it has run nowhere. */
  async #resume(canResume: boolean): Promise<boolean> {
    const name = this.#name
    if (this.#isGone) return false
    const isKept = canResume && name !== null
    const found = isKept && (await findStream(this, this.#envelope, this.#route, name, this.#host))
    if (!found) {
      if (this.isCut) return false
      this.#host.count('streamLost')
      throw streamFault('ERR_KOAWS_STREAM_LOST')
    }
    const { source, local, claim } = found
    this.#source = source
    this.#local = local
    this.#claim = claim
    if (claim) this.sender = local
    const { bytes, items } = this.#early
    if (this.#isCancelled) source.cancel()
    else if (this.#isGone) source.detach(this, closedError())
    else if (bytes > 0 || items > 0) source.grant(bytes, items)
    if (claim || this.#isGone || this.#isAnswered) return claim !== null
    await new Promise<void>((resolve) => {
      this.#settle = resolve
    })
    return false
  }

  #granted(data: unknown): void {
    const { bytes, items = 0 } = fieldsOf(data)
    if (!isCount(bytes) || !isCount(items)) {
      const text = '"bytes" and "items" of koaws:credit must be integers from 0'
      this.#host.offend(streamFaultBody('ERR_KOAWS_STREAM', undefined, text), this.id)
      this.cancel(undefined)
    } else if (this.#source) this.#source.grant(bytes, items)
    else {
      this.#early.bytes += bytes
      this.#early.items = Math.max(this.#early.items, items)
    }
  }

  #arrived(data: unknown, bytes: number): void {
    const hadCredit = this.#receiver ? this.#receiver.arrived(data, bytes) : false
    if (hadCredit === false) {
      const text = 'An item without credit'
      this.#host.count('streamCredit')
      this.#host.offend(streamFaultBody('ERR_KOAWS_STREAM', undefined, text), this.id)
      this.cancel(undefined)
    } else if (hadCredit) this.#host.forgive(bytes)
  }

  /** Ends what belongs to the connection. The handler's loop over items of the client ends with the error. */
  #leave(error: unknown): void {
    if (error !== undefined) this.#receiver?.fail(error)
    if (this.#isGone) return
    this.#isGone = true
    this.#host.forget(this)
    this.#settle()
  }
}
