// Runs the handlers of one connection's messages, and answers with what they return or throw.

import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import { faultBody } from '../errors.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import { errorAnswer } from '../protocol/streams.ts'
import { isAbortOf } from '../streams/abort.ts'
import { isStream } from '../streams/iteration.ts'
import { isThenable } from '../thenable.ts'
import type { Answerer } from './answerer.ts'
import { exposedBody, INTERNAL } from './error-reply.ts'
import { carryOut, checkedData, type Done, isOfTheEnd, timed } from './handling.ts'
import { attemptOf, endReplies, Message, REPLIED, streamedOf } from './message.ts'
import { attemptAt } from './retry.ts'
import { type Route, UNREACHED } from './routes.ts'
import { unasked } from './stream-errors.ts'
import type { StreamedRequest } from './streamed-request.ts'

/** A message that may be handled. */
export interface Accepted {
  readonly envelope: Envelope
  readonly route: Route
  /** Its size. */
  readonly bytes: number
  /** Of a request with a stream. */
  readonly streamed: StreamedRequest | undefined
}

/** Runs the handlers of one connection's messages. */
export class HandlerRunner {
  readonly #answerer: Answerer
  readonly #core: ConnectionCore<Connection>
  readonly #isSilenced: () => boolean

  /** @param isSilenced tells whether the server has closed the connection, so that no message is handled */
  constructor(answerer: Answerer, core: ConnectionCore<Connection>, isSilenced: () => boolean) {
    this.#answerer = answerer
    this.#core = core
    this.#isSilenced = isSilenced
  }

  /**
   * Runs the handler of a message. Returns a promise, which never rejects, if the next message has to
   * wait; a request with a stream lets the next one begin when its handler was called.
   */
  run(accepted: Accepted): Promise<void> | null {
    const { envelope, route, streamed } = accepted
    if (streamed?.isDropped || this.#isSilenced()) return dropped(streamed)
    let data: unknown
    let later: Promise<unknown> | null
    try {
      data = checkedData(route, envelope)
      later = isThenable(data) ? Promise.resolve(data) : null
    } catch (error) {
      this.#unfit(error, envelope, streamed)
      return null
    }
    if (later === null) return this.#handle(accepted, data)
    return later.then(
      (checked) => this.#handle(accepted, checked) ?? undefined,
      (error: unknown) => this.#unfit(error, envelope, streamed),
    )
  }

  #handle({ envelope, route, bytes, streamed }: Accepted, data: unknown): Promise<void> | null {
    if (streamed?.isDropped || this.#isSilenced()) return dropped(streamed)
    const { connection } = this.#core
    const answerer = this.#answerer
    const { type, id } = envelope
    const attempt = streamed ? undefined : attemptAt(envelope, this.#core)
    const message = new Message(type, id, data, connection, route, answerer, attempt, streamed)
    const done = timed(message, bytes)
    try {
      const result = carryOut(route, message, envelope, this.#core.owner?.tracer() ?? null)
      if (!isThenable(result)) {
        this.#handled(message, result)
        done?.(undefined)
        return null
      }
      const handled = Promise.resolve(result).then(
        (value) => this.#tryHandled(message, value, done),
        (error: unknown) => this.#failed(message, error, done),
      )
      if (streamed) return beside(streamed, handled)
      return attempt ? handled.then(() => attempt.end()) : handled
    } catch (error) {
      this.#failed(message, error, done)
      streamed?.settled()
      return null
    }
  }

  #tryHandled(message: Message, value: unknown, done: Done | null): void {
    try {
      this.#handled(message, value)
      done?.(undefined)
    } catch (error) {
      this.#failed(message, error, done)
    }
  }

  /** @throws what keeps the value from being a reply */
  #handled(message: Message, value: unknown): void {
    if (isStream(value)) throw unasked(value, message.type) // of an async handler
    if (streamedOf(message)?.isUnanswerable) {
      endReplies(message) // the value that the handler of a canceled request returns is dropped
      return
    }
    if (this.#answerer.repeats(message, value)) return
    if (message.replied) {
      if (value !== undefined && value !== UNREACHED && value !== REPLIED) message.reply(value) // throws
    } else if (message.id === undefined) return
    else if (value !== UNREACHED) message.reply(value)
    else if (endReplies(message)) {
      const text = `No handler answered ${JSON.stringify(message.type)}`
      this.#answerError(faultBody('ERR_KOAWS_UNHANDLED', text), message)
    }
  }

  #failed(message: Message, error: unknown, done: Done | null): void {
    const { type, id } = message
    const body = exposedBody(error)
    const isExpected = this.#isExpected(message, error)
    // A client that cancels or leaves is no error of the handler.
    done?.(isExpected ? undefined : (body ?? INTERNAL).code)
    const unanswered = endReplies(message) || id === undefined
    if ((body === null || !unanswered) && !isExpected) this.#answerer.report(error, type)
    if (!unanswered) return
    attemptOf(message)?.failed(body ?? INTERNAL)
    this.#answerError(body ?? INTERNAL, message)
  }

  /** Whether an error only says that the client left, or cancelled the request. */
  #isExpected(message: Message, error: unknown): boolean {
    const signal = streamedOf(message)?.signal
    return (signal && isAbortOf(error, signal)) || isOfTheEnd(error, this.#core.connection)
  }

  #answerError(body: ErrorBody, message: Message): void {
    const streamed = streamedOf(message)
    if (streamed) streamed.end(errorAnswer(body))
    else this.#answerer.replyError(body, message.id, message.type)
  }

  /** The schema has said no, or has failed itself. */
  #unfit(error: unknown, { id, type }: Envelope, streamed: StreamedRequest | undefined): void {
    const body = exposedBody(error)
    const isMisfit = body?.code === 'ERR_KOAWS_INVALID'
    if (!isMisfit) this.#answerer.report(error, type)
    if (streamed) {
      if (isMisfit) this.#answerer.count('invalid')
      streamed.end(errorAnswer(isMisfit ? body : INTERNAL))
      streamed.settled()
    } else if (isMisfit) this.#answerer.misfit(body, id, type)
    else this.#answerer.replyError(INTERNAL, id, type)
  }
}

/** Lets the next message begin when the handler of a stream was called. */
function beside(streamed: StreamedRequest, handled: Promise<void>): Promise<void> {
  return Promise.race([streamed.begun, handled.then(() => streamed.settled())])
}

/** A request with a stream is not handled. */
function dropped(streamed: StreamedRequest | undefined): null {
  streamed?.cancel(undefined)
  streamed?.settled()
  return null
}
