// The class `Message`, which middleware and handlers of `messages()` get.

import type { DefaultState } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { KoaWsError, MessageError, type MessageErrorInit } from '../errors.ts'
import { type AnyProtocol, type ProtocolDefinition, RESERVED_CODE } from '../protocol/definition.ts'
import type { Attempt } from '../retry/attempt.ts'
import { withoutItems } from './stream-errors.ts'
import type { StreamedRequest } from './streamed-request.ts'

/** Sends replies to messages that are handled by a route `R`. */
export interface Replier<R> {
  /** @throws what keeps the value from being a reply */
  replyFor(
    route: R,
    id: number,
    value: unknown,
    attempt: Attempt | undefined,
    streamed: StreamedRequest | undefined,
  ): void
}

/** The result of `message.reply()`: a handler that replies early returns it in place of a reply. */
export interface Replied {
  /** Only `message.reply()` returns such a value. */
  readonly '~replied': true
}
export const REPLIED: Replied = Object.freeze({ '~replied': true })

let end: (message: Message) => boolean
let attempt: (message: Message) => Attempt | undefined
let streamed: (message: Message) => StreamedRequest | undefined

/** Sees to it that a message is not answered any more; false when it was answered already. */
export function endReplies(message: Message): boolean {
  return end(message)
}

/** Returns the attempt at a request that may be sent again; undefined for any other message. */
export function attemptOf(message: Message): Attempt | undefined {
  return attempt(message)
}

/** Returns the request with a stream that a message is; undefined for any other message. */
export function streamedOf(message: Message): StreamedRequest | undefined {
  return streamed(message)
}

type ReplyArguments<Reply> = undefined extends Reply ? [value?: Reply] : [value: Reply]

/**
 * One message of a client, for the middleware and the handler of `messages()`.
 *
 * @typeParam Data the output of the schema
 * @typeParam Reply what the reply holds
 * @typeParam Upload the items that the client sends
 */
export class Message<
  Data = unknown,
  Reply = unknown,
  State = DefaultState,
  D extends AnyProtocol = ProtocolDefinition,
  Upload = unknown,
> {
  /** The name of its type. */
  readonly type: string
  /** The id of a request; undefined for a message that asks for no answer. */
  readonly id: number | undefined
  /** What the schema made of the data; as it came where there is no schema. */
  readonly data: Data
  /** The connection that it came on. */
  readonly connection: Connection<State, D>
  readonly #route: unknown
  readonly #replier: Replier<never>
  readonly #attempt: Attempt | undefined
  readonly #streamed: StreamedRequest | undefined
  #replied = false
  #state: State | undefined

  constructor(
    type: string,
    id: number | undefined,
    data: Data,
    connection: Connection<State, D>,
    route: unknown,
    replier: Replier<never>,
    attempt?: Attempt,
    streamed?: StreamedRequest,
  ) {
    this.type = type
    this.id = id
    this.data = data
    this.connection = connection
    this.#route = route
    this.#replier = replier
    this.#attempt = attempt
    this.#streamed = streamed
  }

  /**
   * Values that middleware passes to the handler, like `ctx.state`. It belongs to this message; properties
   * that are not set here are read from `connection.state`.
   */
  get state(): State {
    this.#state ??= Object.create(this.connection.state as object) as State
    return this.#state
  }

  /**
   * Aborts when the connection ends. That of a request with `retry` does not: the client asks for
   * the answer on its next connection. It aborts when the hub has closed. That of a request with a
   * stream also aborts when the client cancels it; with `resume`, the end of the connection aborts it
   * only if the client does not come back in time.
   */
  get signal(): AbortSignal {
    return this.#streamed?.signal ?? this.#attempt?.signal ?? this.connection.signal
  }

  /**
   * The items that the client sends, for one `for await` loop. The client gets credit for items that the
   * loop has taken; leaving the loop stops the client.
   *
   * The loop throws a MessageError `ERR_KOAWS_INVALID` for an item that the schema rejects,
   * `ERR_KOAWS_STREAM_IDLE` when the client sends nothing for too long, and a KoaWsError
   * `ERR_KOAWS_CLOSED` when the connection ends first.
   * @throws MessageError `ERR_KOAWS_STREAM` if the request has no items
   */
  get upload(): AsyncIterableIterator<Upload> {
    if (this.#streamed) return this.#streamed.upload as AsyncIterableIterator<Upload>
    throw withoutItems(this.type)
  }

  /** Whether the reply was sent. */
  get replied(): boolean {
    return this.#replied
  }

  /**
   * Replies now, in place of the value that the handler returns. Without an id the reply is dropped.
   *
   * @param value the reply; it must fit the schema of the protocol
   * @returns a value that a handler of a type with a `reply` may return in place of a reply
   * @throws KoaWsError `ERR_KOAWS_ALREADY_REPLIED` the second time
   * @throws TypeError for a value without a JSON form
   * @throws MessageError for a value that the schema does not allow (`validateOut`)
   */
  reply(...[value]: ReplyArguments<Reply>): Replied {
    if (this.#replied) {
      throw new KoaWsError(
        'ERR_KOAWS_ALREADY_REPLIED',
        `"${this.type}" was already answered: call message.reply() once, or return the value.`,
      )
    }
    if (this.id !== undefined) {
      const route = this.#route as never
      this.#replier.replyFor(route, this.id, value, this.#attempt, this.#streamed)
    }
    this.#replied = true
    return REPLIED
  }

  static {
    end = (message) => {
      if (message.#replied) return false
      message.#replied = true
      return true
    }
    attempt = (message) => message.#attempt
    streamed = (message) => message.#streamed
  }

  /**
   * Answers with an error.
   *
   * @param status an integer from 400 to 599, with its meaning in HTTP
   * @param text by default the text of the status
   * @param init a code, data for the client, and whether a retry may succeed
   * @throws MessageError always
   * @throws TypeError for a code that begins with `ERR_KOAWS_`
   */
  throw(status: number, text?: string, init: MessageErrorInit = {}): never {
    if (init.code?.startsWith(RESERVED_CODE)) {
      throw new TypeError(
        `The code "${init.code}" is reserved: codes that begin with "${RESERVED_CODE}" belong to koaws.`,
      )
    }
    throw new MessageError(status, text, init)
  }
}
