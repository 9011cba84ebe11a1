import type { DefaultState } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { KoaWsError, MessageError, type MessageErrorInit } from '../errors.ts'
import { type ProtocolDefinition, RESERVED_CODE } from '../protocol/definition.ts'

/** Sends replies to messages that are handled by a route `R`. */
export interface Replier<R> {
  /** @throws what keeps the value from being a reply */
  replyFor(route: R, id: number, value: unknown): void
}

/** Answer nothing more; false when it was answered already. */
export let endReplies: (message: Message) => boolean

/**
 * One message of a client, for the middleware and the handler of `messages()`.
 *
 * @typeParam Data what the schema made of the data
 * @typeParam Reply what the reply holds
 */
export class Message<
  Data = unknown,
  Reply = unknown,
  State = DefaultState,
  D extends ProtocolDefinition = ProtocolDefinition,
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
  #replied = false
  #state: State | undefined

  constructor(
    type: string,
    id: number | undefined,
    data: Data,
    connection: Connection<State, D>,
    route: unknown,
    replier: Replier<never>,
  ) {
    this.type = type
    this.id = id
    this.data = data
    this.connection = connection
    this.#route = route
    this.#replier = replier
  }

  /**
   * For middleware to hand something to the handler, as `ctx.state` is. Of this message alone; what is
   * not set here is read from `connection.state`.
   */
  get state(): State {
    this.#state ??= Object.create(this.connection.state as object) as State
    return this.#state
  }

  /** Aborts when the connection ends. */
  get signal(): AbortSignal {
    return this.connection.signal
  }

  /** Whether the reply was sent. */
  get replied(): boolean {
    return this.#replied
  }

  /**
   * Reply now, instead of with the value that the handler returns. Without an id nothing is sent.
   *
   * @throws KoaWsError `ERR_KOAWS_ALREADY_REPLIED` the second time
   * @throws TypeError for a value without a JSON form
   * @throws MessageError for a value that the schema does not allow (`validateOut`)
   */
  reply(value?: Reply): void {
    if (this.#replied) {
      throw new KoaWsError(
        'ERR_KOAWS_ALREADY_REPLIED',
        `A reply to "${this.type}" was sent already.`,
      )
    }
    if (this.id !== undefined) this.#replier.replyFor(this.#route as never, this.id, value)
    this.#replied = true
  }

  static {
    endReplies = (message) => {
      if (message.#replied) return false
      message.#replied = true
      return true
    }
  }

  /**
   * Answer with an error.
   *
   * @throws MessageError always
   * @throws TypeError for a code that begins with `ERR_KOAWS_`
   */
  throw(status: number, text?: string, init: MessageErrorInit = {}): never {
    if (init.code?.startsWith(RESERVED_CODE)) {
      throw new TypeError('Codes that begin with "ERR_KOAWS_" are those of koaws itself.')
    }
    throw new MessageError(status, text, init)
  }
}
