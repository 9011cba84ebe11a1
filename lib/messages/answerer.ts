// The base class of a conversation: replies, errors, and what is counted and reported with them.

import { announce } from '../connection/announce.ts'
import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import { closedError } from '../connection/ending.ts'
import type { MessageDrop } from '../connection/owner.ts'
import type { MessageFault } from '../error-table.ts'
import { toError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import { type ErrorBody, errorText, replyData, replyText, replyWith } from '../protocol/envelope.ts'
import { type Attempt, KeptReply } from '../retry/attempt.ts'
import type { StreamDrop } from '../streams/streams.ts'
import { endReplies, type Message, type Replier } from './message.ts'
import { Offences } from './offences.ts'
import type { Route } from './routes.ts'
import type { Service } from './service.ts'
import type { StreamedRequest } from './streamed-request.ts'

/** The name under which a bad message is counted; null when it is not counted. */
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
  ERR_KOAWS_OUTCOME_UNKNOWN: null,
  ERR_KOAWS_ANSWER_NOT_KEPT: null,
  ERR_KOAWS_KEY_REUSED: null,
  ERR_KOAWS_TOO_MANY_KEYS: null,
  ERR_KOAWS_RETRY_STORE: null,
  ERR_KOAWS_STREAM: 'malformed',
  ERR_KOAWS_STREAM_LIMIT: null,
  ERR_KOAWS_STREAM_MEMORY: null,
  ERR_KOAWS_STREAM_IDLE: null,
  ERR_KOAWS_STREAM_LOST: null,
}

const counted = new Map<string, MessageDrop | null>(Object.entries(COUNTED))

/** Answers the messages of one client: replies and errors, and what is counted and reported beside them. */
export abstract class Answerer implements Replier<Route> {
  protected readonly core: ConnectionCore<Connection>
  protected readonly service: Service
  #offences: Offences | null = null

  constructor(core: ConnectionCore<Connection>, service: Service) {
    this.core = core
    this.service = service
  }

  get connection(): Connection {
    return this.core.connection
  }

  /** The first token was accepted, or none is needed. */
  abstract open(): void

  replyFor(
    route: Route,
    id: number,
    value: unknown,
    attempt: Attempt | undefined,
    streamed: StreamedRequest | undefined,
  ): void {
    this.service.checkReply(route, value)
    const data = replyData(value, route.type)
    attempt?.replied(data)
    if (streamed) streamed.end({ type: 'koaws:reply', json: data })
    else this.send(replyWith(id, data))
  }

  /** Repeats a reply that was kept. Returns false for any other result of a handler. */
  repeats(message: Message, value: unknown): boolean {
    if (!(value instanceof KeptReply)) return false
    if (message.id !== undefined && endReplies(message)) {
      this.send(replyWith(message.id, value.text))
    }
    return true
  }

  /** @throws KoaWsError when the connection is not open */
  protected assertOpen(): void {
    if (this.connection.readyState !== this.connection.OPEN) throw closedError()
  }

  /** Answer a message of the protocol itself. */
  reply(id: number, value: unknown): void {
    this.send(replyText(id, value, 'koaws:reply'))
  }

  /** Tell of an error: it has the id of a message, or the type that it is about. */
  replyError(body: ErrorBody, id: number | undefined, about: string | undefined): void {
    this.send(errorText(body, id, about))
  }

  /** The client has sent what cannot be handled. */
  offend(body: ErrorBody, id?: number, about?: string): void {
    const { connection } = this
    this.replyError(body, id, about)
    const reason = counted.get(body.code)
    if (reason) this.count(reason)
    this.#offences ??= new Offences()
    if (!this.#offences.add(this.service.maxOffences)) return
    if (connection.readyState !== connection.OPEN) return
    this.count('offender')
    this.core.closeForCause(CloseCode.badMessages, 'too many bad messages')
  }

  /** Answers data that the schema rejects. People type them, so they are no offence. */
  misfit(body: ErrorBody, id: number | undefined, about: string): void {
    this.replyError(body, id, about)
    this.count('invalid')
  }

  /** So many of something that is counted in `status().drops`. */
  count(reason: MessageDrop | StreamDrop | 'unheard', many = 1): void {
    this.core.count(reason, many)
  }

  /** Report a failure of the application to the application; the client does not hear of it. */
  report(error: unknown, messageType: string): void {
    this.core.owner?.failed(this.connection, toError(error), messageType)
  }

  /** Send a text of the protocol. */
  protected say(text: string): void {
    announce(this.core.outbox, text)
    this.connection.send(text)
  }

  /** Sends a text of the protocol, if the connection is open. */
  send(text: string): void {
    if (this.connection.readyState === this.connection.OPEN) this.say(text)
  }
}
