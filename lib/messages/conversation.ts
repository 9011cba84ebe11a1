import type { Context } from 'koa'
import type { PushCheck } from '../connection/checked-audience.ts'
import { type Connection, internals } from '../connection/connection.ts'
import { closedError } from '../connection/ending.ts'
import type { Conversation } from '../connection/internals.ts'
import type { MessageDrop } from '../connection/owner.ts'
import type { Access } from '../connection/speaker.ts'
import type { RequestOptions } from '../connection/types.ts'
import { type MessageFault, toError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import { RESERVED } from '../protocol/definition.ts'
import {
  type Envelope,
  type ErrorBody,
  errorText,
  replyText,
  requestText,
  welcomeText,
} from '../protocol/envelope.ts'
import { Fault, MAX_DEPTH, readEnvelope } from '../protocol/read.ts'
import { isThenable } from '../thenable.ts'
import { settleAnswer } from './answers.ts'
import { Authentication } from './authentication.ts'
import { codeOf, exposedBody, faultBody, INTERNAL } from './error-reply.ts'
import { HandlerQueue } from './handler-queue.ts'
import { endReplies, Message, type Replier } from './message.ts'
import { Offences } from './offences.ts'
import { Requests } from './requests.ts'
import { type Route, UNREACHED } from './routes.ts'
import { checkData } from './schema.ts'
import type { Service } from './service.ts'

/** A message that may be handled. */
interface Accepted {
  readonly envelope: Envelope
  readonly route: Route
}

/** Under which name a bad message is counted. */
const COUNTED: Readonly<Record<MessageFault, MessageDrop | null>> = {
  ERR_KOAWS_MALFORMED: 'malformed',
  ERR_KOAWS_BINARY: 'binary',
  ERR_KOAWS_TOO_LARGE: 'tooLarge',
  ERR_KOAWS_TOO_DEEP: 'tooDeep',
  ERR_KOAWS_PROTOTYPE_KEY: 'prototypeKey',
  ERR_KOAWS_UNKNOWN_TYPE: 'unknownType',
  ERR_KOAWS_INVALID: 'invalid',
  ERR_KOAWS_UNAUTHENTICATED: 'unauthenticated',
  ERR_KOAWS_AUTH: 'badToken',
  ERR_KOAWS_BUSY: null,
  ERR_KOAWS_UNHANDLED: null,
}

/** One connection that speaks `koaws.v1`: from its first message to its last. */
export class MessageConversation implements Conversation, Replier<Route> {
  readonly check: PushCheck | null
  readonly #connection: Connection
  readonly #service: Service
  readonly #queue: HandlerQueue<Accepted>
  readonly #authentication: Authentication | null
  readonly #ctx: Context
  #requests: Requests | null = null
  #offences: Offences | null = null
  /** The application has heard of it. */
  #opened = false
  /** What it does then, while that is not done. */
  #opening: Promise<void> | null = null
  /** The hub closes: what has arrived is worked off, and nothing else is taken. */
  #windingDown = false

  constructor(connection: Connection, ctx: Context, service: Service, access: Access | null) {
    this.#connection = connection
    this.#ctx = ctx
    this.#service = service
    this.check = service.check
    this.#queue = new HandlerQueue(service.concurrency, {
      start: (accepted) => this.#carryOut(accepted),
      reading: () => internals.readingOf(connection),
      expects: () => (this.#requests?.size ?? 0) > 0,
    })
    this.#authentication = access && new Authentication(access, this)
    service.seal()
    internals.converse(connection, this)
    connection.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    connection.on('close', () => this.#closed())
    if (this.#authentication?.isRequired) this.#authentication.ask()
    else this.open()
  }

  get connection(): Connection {
    return this.#connection
  }

  async ask(type: string, data: unknown, options: RequestOptions): Promise<unknown> {
    const connection = this.#connection
    if (connection.readyState !== connection.OPEN) throw closedError()
    this.check?.(type, data)
    this.#requests ??= new Requests(() => this.#queue.readOn())
    return this.#requests.ask(type, options, (id) => connection.send(requestText(type, id, data)))
  }

  end(error: Error): void {
    this.#requests?.end(error)
  }

  windDown(): Promise<unknown> | null {
    this.#windingDown = true
    return this.#queue.idle()
  }

  /** Nothing stands in the way any more: welcome, then the application's own first steps. */
  open(): void {
    const connection = this.#connection
    if (connection.readyState !== connection.OPEN || this.#windingDown) return
    const { heartbeat } = internals.ownerOf(connection)?.rules ?? { heartbeat: false }
    connection.send(
      welcomeText({
        version: 1,
        connection: connection.id,
        user: connection.userId ?? null,
        heartbeat: heartbeat ? heartbeat.interval : null,
        maxMessage: this.#service.maxMessage,
        maxDepth: MAX_DEPTH,
        expiresAt: connection.expiresAt,
        refresh: this.#authentication?.refreshes ?? false,
      }),
    )
    this.#opened = true
    const opening = this.#service.opened(connection, this.#ctx)
    if (opening === null) return
    this.#opening = opening.catch((error: unknown) => internals.fail(connection, error, true))
    this.#queue.hold(this.#opening)
  }

  replyFor(route: Route, id: number, value: unknown): void {
    this.#service.checkReply(route, value)
    this.reply(id, value)
  }

  /** Answer something. Whoever is gone hears nothing. */
  reply(id: number, value: unknown): void {
    this.#send(replyText(id, value))
  }

  /** Tell of an error, to whom it has an id, or what it is about. */
  replyError(body: ErrorBody, id: number | undefined, about: string | undefined): void {
    this.#send(errorText(body, id, about))
  }

  /** The client has sent what cannot be handled. */
  offend(body: ErrorBody, id?: number, about?: string): void {
    const connection = this.#connection
    this.replyError(body, id, about)
    const reason = COUNTED[body.code as MessageFault]
    if (reason) this.count(reason)
    this.#offences ??= new Offences()
    if (!this.#offences.add(this.#service.maxOffences)) return
    if (connection.readyState !== connection.OPEN) return
    this.count('offender')
    internals.closeForCause(connection, CloseCode.badMessages, 'too many bad messages')
  }

  /** So many of something that is counted in `status().drops`. */
  count(reason: MessageDrop | 'unheard', many = 1): void {
    internals.ownerOf(this.#connection)?.count(reason, many, this.#connection)
  }

  /** Something of the application failed: the application hears of it, the client nothing of it. */
  report(error: unknown, messageType: string): void {
    internals.ownerOf(this.#connection)?.failed(this.#connection, toError(error), messageType)
  }

  #send(text: string): void {
    if (this.#connection.readyState === this.#connection.OPEN) this.#connection.send(text)
  }

  /**
   * Whether we have closed the connection, so that nothing of it is handled any more; that is counted.
   * What a client has sent before it left is handled: it was told that it was sent.
   */
  #isSilenced(): boolean {
    if (!internals.closedByUs(this.#connection)) return false
    this.count('unheard')
    return true
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#isSilenced()) return
    if (isBinary) {
      this.offend(faultBody('ERR_KOAWS_BINARY', 'koaws.v1 has text messages only'))
    } else if (data.length > this.#service.maxMessage) {
      const { maxMessage } = this.#service
      this.offend(faultBody('ERR_KOAWS_TOO_LARGE', `More than ${maxMessage} bytes`))
    } else {
      this.#read(readEnvelope(data.toString('utf8')), data.length)
    }
  }

  #read(envelope: Envelope | Fault, bytes: number): void {
    if (envelope instanceof Fault) {
      const { code, message, id, about } = envelope
      this.offend(faultBody(code, message), id, about)
      return
    }
    const { type } = envelope
    if (type.startsWith(RESERVED)) {
      this.#control(envelope)
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
    if (this.#windingDown) {
      const body = faultBody('ERR_KOAWS_DRAINING', 'The server is shutting down')
      this.replyError(body, envelope.id, type)
      return
    }
    const route = this.#service.routes.find(type)
    if (!route) {
      this.offend(unknownType(type), envelope.id, type)
      return
    }
    if (this.#queue.isFree) this.#queue.started(this.#carryOut({ envelope, route }))
    else this.#queue.push({ envelope, route }, bytes)
  }

  /** Messages of the protocol itself do not wait for those of the application. */
  #control(envelope: Envelope): void {
    const { type, id, data } = envelope
    if (type === 'koaws:reply' || type === 'koaws:error') {
      if (this.#requests) settleAnswer(envelope, this.#requests, this.#service.routes, this)
    } else if (type === 'koaws:auth' && this.#authentication) {
      this.#authentication.received(id, data)
    } else if (id !== undefined) {
      if (type === 'koaws:ping') this.reply(id, null)
      else this.replyError(unknownType(type), id, undefined)
    }
  }

  /** A promise, which never rejects, where the handler is not done yet. */
  #carryOut({ envelope, route }: Accepted): Promise<void> | null {
    if (this.#isSilenced()) return null
    let data: unknown
    try {
      data = route.schema ? checkData(route.schema, envelope.data) : envelope.data
    } catch (error) {
      this.#unfit(error, envelope)
      return null
    }
    if (!isThenable(data)) return this.#handle(envelope, route, data)
    return Promise.resolve(data).then(
      (checked) => this.#handle(envelope, route, checked) ?? undefined,
      (error: unknown) => this.#unfit(error, envelope),
    )
  }

  #handle(envelope: Envelope, route: Route, data: unknown): Promise<void> | null {
    if (this.#isSilenced()) return null
    const message = new Message(envelope.type, envelope.id, data, this.#connection, route, this)
    try {
      const result = route.chain === null ? route.handler(message) : route.chain(message)
      if (!isThenable(result)) {
        this.#handled(message, result)
        return null
      }
      return Promise.resolve(result).then(
        (value) => this.#tryHandled(message, value),
        (error: unknown) => this.#failed(message, error),
      )
    } catch (error) {
      this.#failed(message, error)
      return null
    }
  }

  #tryHandled(message: Message, value: unknown): void {
    try {
      this.#handled(message, value)
    } catch (error) {
      this.#failed(message, error)
    }
  }

  /** @throws what keeps the value from being a reply */
  #handled(message: Message, value: unknown): void {
    if (message.replied) {
      if (value !== undefined && value !== UNREACHED) message.reply(value) // throws
    } else if (message.id === undefined) return
    else if (value !== UNREACHED) message.reply(value)
    else if (endReplies(message)) {
      const text = `Nothing answered ${JSON.stringify(message.type)}`
      this.replyError(faultBody('ERR_KOAWS_UNHANDLED', text), message.id, undefined)
    }
  }

  #failed(message: Message, error: unknown): void {
    const { type, id } = message
    const body = exposedBody(error)
    const unanswered = endReplies(message) || id === undefined
    if ((body === null || !unanswered) && !this.#isOfTheEnd(error)) this.report(error, type)
    if (unanswered) this.replyError(body ?? INTERNAL, id, type)
  }

  /** The client has left while a handler waited for its answer: nobody's fault. */
  #isOfTheEnd(error: unknown): boolean {
    const connection = this.#connection
    return connection.readyState !== connection.OPEN && codeOf(error) === 'ERR_KOAWS_CLOSED'
  }

  /** The schema has said no, or has failed itself. */
  #unfit(error: unknown, { id, type }: Envelope): void {
    const body = exposedBody(error)
    if (body?.code === 'ERR_KOAWS_INVALID') this.offend(body, id, type)
    else {
      this.report(error, type)
      this.replyError(INTERNAL, id, type)
    }
  }

  #closed(): void {
    const connection = this.#connection
    this.#authentication?.end()
    const unheard = internals.closedByUs(connection) ? this.#queue.discard() : 0
    if (unheard > 0) this.count('unheard', unheard)
    if (this.#opened) this.#service.closed(connection, this.#opening)
  }
}

function unknownType(type: string): ErrorBody {
  return faultBody('ERR_KOAWS_UNKNOWN_TYPE', `There is no type ${JSON.stringify(type)}`)
}
