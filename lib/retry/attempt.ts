// `Attempt`: one arrival of a request with `retry`, from the claim to the answer.
import { type ErrorBody, MessageError } from '../errors.ts'
import { fieldsOf, isIntegerWithin, parseJson } from '../fields.ts'
import { retryFault } from './faults.ts'
import type { RetryOwner } from './quota.ts'

/** The names in `status().drops` that belong to requests with `retry`. */
export type RetryDrop =
  /** Requests beyond the limits of a client or an instance. */
  | 'retryKeys'
  /** Answers that were too large to be kept, or beyond the limit of the instance. */
  | 'retryAnswers'
  /** Requests of unknown outcome. */
  | 'retryUnknown'

/** A request with `retry`, as it arrived. */
export interface RetryRequest {
  /** The client that the key counts for. */
  readonly owner: RetryOwner
  /** The user; undefined without one. */
  readonly user: string | undefined
  /** The path of the connection. */
  readonly path: string
  readonly key: string
  /** Whether it was sent before. */
  readonly again: boolean
  readonly type: string
  readonly data: unknown
  /** Aborts when the connection ends: the answer cannot be given any more. */
  readonly ended: AbortSignal
  count(reason: RetryDrop): void
}

/** What an attempt asks of its hub. */
export interface RetryDesk {
  /** Resolves to null if the request must run now, else to its answer. Rejects with a `MessageError`. */
  claim(attempt: Attempt): Promise<string | null>
  /** Resolves to whether the request must run now. Rejects with a `MessageError`. */
  first(attempt: Attempt): Promise<boolean>
  /** Keeps the answer; null for a request without a kept answer. */
  settle(attempt: Attempt, answer: string | null): void
}

/** What a kept answer begins with: a reply or an error. */
const REPLY = 'r'
const ERROR = 'e'

/** The kept reply to a request that was sent again. */
export class KeptReply {
  /** The data as JSON. */
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** The data; a new object at each access. Undefined if the store holds data of other software. */
  get data(): unknown {
    return parseJson(this.text)
  }
}

/** One arrival of a request with `retry`. */
export class Attempt {
  readonly request: RetryRequest
  /** Identifies the request in the store. */
  readonly id: string
  /** Of its type and data. */
  readonly hash: string
  readonly #desk: RetryDesk
  #isClaimed = false
  #answer: string | null = null
  #controller: AbortController | null = null

  constructor(desk: RetryDesk, request: RetryRequest, id: string, hash: string) {
    this.#desk = desk
    this.request = request
    this.id = id
    this.hash = hash
  }

  /**
   * Aborts when the answer can no longer be kept, because the hub has closed. The end of the
   * connection does not abort it: the client asks for the answer on the next one.
   */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  abort(): void {
    this.#controller?.abort()
  }

  /** Runs the handler, unless the request has run already: then returns its reply, or throws its error. */
  async run(handle: () => unknown): Promise<unknown> {
    const answer = await this.#desk.claim(this)
    if (answer === null) {
      this.#isClaimed = true
      return handle()
    }
    if (answer.startsWith(REPLY)) return new KeptReply(answer.slice(1))
    throw keptError(answer)
  }

  /** Claims a request without a kept answer. Resolves to whether no instance runs it, or has run it. */
  async first(): Promise<boolean> {
    this.#isClaimed = await this.#desk.first(this)
    return this.#isClaimed
  }

  /** The handling of such a request is over. */
  over(): void {
    if (this.#isClaimed) this.#desk.settle(this, null)
  }

  /** The handler, or middleware, has replied with these data, as JSON. */
  replied(text: string): void {
    this.#settle(REPLY + text)
  }

  /** The handler, or middleware, has failed. */
  failed(body: ErrorBody): void {
    this.#settle(ERROR + JSON.stringify(body))
  }

  /** The handling is over. A request that was claimed has been answered, unless middleware replied first. */
  end(): void {
    if (this.#isClaimed) this.#desk.settle(this, this.#answer ?? `${REPLY}null`)
  }

  #settle(answer: string): void {
    this.#answer ??= answer
    if (this.#isClaimed) this.#desk.settle(this, this.#answer)
  }
}

/** Returns the error of a kept answer. The store may hold data of other software. */
function keptError(answer: string): MessageError {
  const { code, message, status, retryable, data } = fieldsOf(parseJson(answer.slice(1)))
  if (!answer.startsWith(ERROR) || typeof code !== 'string' || !isIntegerWithin(status, 400, 599)) {
    return retryFault('ERR_KOAWS_ANSWER_NOT_KEPT')
  }
  return new MessageError(status, String(message), { code, retryable: retryable === true, data })
}
