// One connection that speaks `koaws.v1`: from an arrived message to its handler.

import type { Context } from 'koa'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { Conversation } from '../connection/core.ts'
import type { Access } from '../connection/speaker.ts'
import type { RequestOptions } from '../connection/types.ts'
import { faultBody } from '../errors.ts'
import { RESERVED } from '../protocol/definition.ts'
import {
  assertType,
  type Envelope,
  type ErrorBody,
  requestText,
  welcomeText,
} from '../protocol/envelope.ts'
import { Fault, isResume, MAX_DEPTH, RESUME, readEnvelope } from '../protocol/read.ts'
import { isStreamed } from '../protocol/streams.ts'
import { Answerer } from './answerer.ts'
import { settleAnswer } from './answers.ts'
import { Authentication } from './authentication.ts'
import { HandlerQueue } from './handler-queue.ts'
import { type Accepted, HandlerRunner } from './handler-runner.ts'
import { Requests } from './requests.ts'
import { retryWindow } from './retry.ts'
import type { Service } from './service.ts'
import type { StreamedRequest } from './streamed-request.ts'
import { type StreamedRequests, streamsOf } from './streamed-requests.ts'

/** One connection that speaks `koaws.v1`: from its first message to its last. */
export class MessageConversation extends Answerer implements Conversation {
  readonly check: Service['check']
  readonly #queue: HandlerQueue<Accepted>
  readonly #runner: HandlerRunner
  readonly #authentication: Authentication | null
  readonly #ctx: Context
  #requests: Requests | null = null
  #streams: StreamedRequests | null = null
  /** The application has heard of it. */
  #opened = false
  /** What it does then, while that is not done. */
  #opening: Promise<void> | null = null
  /** The hub closes: what has arrived is worked off, and nothing else is taken. */
  #windingDown = false

  constructor(connection: Connection, ctx: Context, service: Service, access: Access | null) {
    super(coreOf(connection), service)
    this.#ctx = ctx
    this.check = service.check
    this.#runner = new HandlerRunner(this, this.core, () => this.#isSilenced())
    this.#queue = new HandlerQueue(
      service.concurrency,
      (accepted) => this.#runner.run(accepted),
      () => this.core.reading,
      () => (this.#requests?.size ?? 0) > 0 || this.#streams?.isActive === true,
    )
    this.#authentication = access && new Authentication(access, this)
    service.seal()
    this.core.converse(this)
    connection.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    connection.on('close', () => this.#closed())
    if (this.#authentication?.isRequired) this.#authentication.ask()
    else this.open()
  }

  async ask(type: string, data: unknown, options: RequestOptions): Promise<unknown> {
    this.assertOpen()
    assertType(type)
    this.check?.(type, data)
    const { connection, owner } = this.core
    this.#requests ??= new Requests(connection, () => this.#queue.readOn())
    const requests = this.#requests
    const tracer = owner?.tracer() ?? null
    const send = async (): Promise<unknown> =>
      requests.ask(type, options, (id) => this.say(requestText(type, id, data, tracer)))
    return tracer === null ? send() : tracer.request({ connection, type }, send)
  }

  end(error: Error): void {
    this.#requests?.end(error)
  }

  windDown(): Promise<unknown> | null {
    this.#windingDown = true
    const waits = [this.#queue.idle(), this.#streams?.idle()].filter(Boolean)
    return waits.length > 0 ? Promise.all(waits) : null
  }

  takeLeave(): void {
    this.#streams?.takeLeave()
  }

  /** Nothing stands in the way any more: welcome, then the application's own first steps. */
  open(): void {
    const { connection } = this
    if (connection.readyState !== connection.OPEN || this.#windingDown) return
    const { heartbeat } = this.core.owner?.rules ?? { heartbeat: false }
    connection.send(
      welcomeText({
        version: 1,
        connection: connection.id,
        user: connection.userId ?? null,
        heartbeat: heartbeat ? heartbeat.interval : null,
        maxMessage: this.service.maxMessage,
        maxDepth: MAX_DEPTH,
        expiresAt: connection.expiresAt,
        refresh: this.#authentication?.refreshes ?? false,
        retry: retryWindow(this.core),
      }),
    )
    this.#opened = true
    const opening = this.service.opened(connection, this.#ctx)
    if (opening === null) return
    this.#opening = opening.catch((error: unknown) => this.core.fail(error, true))
    this.#queue.hold(this.#opening)
  }

  /**
   * Whether we have closed the connection, so that nothing of it is handled any more; that is counted.
   * What a client has sent before it left is handled: it was told that it was sent.
   */
  #isSilenced(): boolean {
    if (!this.core.closedByUs) return false
    this.count('unheard')
    return true
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#isSilenced()) return
    if (isBinary) {
      this.offend(faultBody('ERR_KOAWS_BINARY', 'koaws.v1 has text messages only'))
    } else if (data.length > this.service.maxMessage && !isResume(data)) this.#tooLarge()
    else this.#read(readEnvelope(data.toString('utf8')), data.length)
  }

  #tooLarge(): void {
    const why = `More than ${this.service.maxMessage} bytes`
    this.offend(faultBody('ERR_KOAWS_TOO_LARGE', why))
  }

  #read(envelope: Envelope | Fault, bytes: number): void {
    if (envelope instanceof Fault) {
      const { code, message, id, about } = envelope
      this.offend(faultBody(code, message), id, about)
      return
    }
    const { type } = envelope
    if (bytes > this.service.maxMessage && type !== RESUME) {
      this.#tooLarge() // a text that only contains the name
      return
    }
    if (type.startsWith(RESERVED)) {
      this.#control(envelope, bytes)
      return
    }
    if (!this.#opened) {
      this.offend(
        faultBody('ERR_KOAWS_UNAUTHENTICATED', 'Send koaws:auth first'),
        envelope.id,
        type,
      )
      return
    }
    if (this.#windingDown && envelope.id !== undefined && envelope.key !== undefined) {
      this.count('unheard') // without an answer, the client sends it to another instance
      return
    }
    if (this.#windingDown) {
      const body = faultBody('ERR_KOAWS_DRAINING', 'The server is shutting down')
      this.replyError(body, envelope.id, type)
      return
    }
    const route = this.service.routes.find(type)
    if (!route) {
      this.offend(unknownType(type), envelope.id, type)
      return
    }
    let streamed: StreamedRequest | undefined
    if (isStreamed(envelope)) {
      this.#streams ??= streamsOf(this, this.core, this.service)
      streamed = this.#streams.open(envelope, route)
      if (!streamed) return // refused
    }
    const accepted = { envelope, route, bytes, streamed }
    if (this.#queue.isFree) this.#queue.started(this.#runner.run(accepted))
    else this.#queue.push(accepted, bytes)
  }

  /** Messages of the protocol itself do not wait for those of the application. */
  #control(envelope: Envelope, bytes: number): void {
    const { type, id, data } = envelope
    if (STREAM_PARTS.has(type)) this.#streams?.hear(envelope, bytes)
    else if (type === 'koaws:reply' || type === 'koaws:error') {
      if (this.#requests) settleAnswer(envelope, this.#requests, this.service.routes, this)
    } else if (type === 'koaws:auth' && this.#authentication) {
      this.#authentication.received(id, data)
    } else if (type === RESUME) {
      const problem = this.core.owner?.resumed(this.connection, data, bytes)
      if (problem) this.offend(faultBody('ERR_KOAWS_MALFORMED', problem), id, type)
    } else if (id !== undefined) {
      if (type === 'koaws:ping') this.reply(id, null)
      else this.replyError(unknownType(type), id, undefined)
    }
  }

  #closed(): void {
    const { connection } = this
    this.#authentication?.end()
    this.#streams?.closed()
    const unheard = this.core.closedByUs ? this.#queue.discard() : 0
    if (unheard > 0) this.count('unheard', unheard)
    if (this.#opened) this.service.closed(connection, this.#opening)
  }
}

/** The messages of streams that clients send. */
const STREAM_PARTS = new Set(['koaws:item', 'koaws:credit', 'koaws:end', 'koaws:cancel'])

function unknownType(type: string): ErrorBody {
  return faultBody('ERR_KOAWS_UNKNOWN_TYPE', `No handler for ${JSON.stringify(type)}`)
}
