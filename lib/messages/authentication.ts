// Authenticates a client by tokens in messages: the first token, and later ones for a refresh.

import { STATUS_CODES } from 'node:http'
import { coreOf } from '../connection/connection.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import { exposureOf, faultBody } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import { authenticateText, type ErrorBody } from '../protocol/envelope.ts'
import type { Answerer } from './answerer.ts'
import { codeOf, INTERNAL } from './error-reply.ts'

const AUTH = 'koaws:auth'
/** The most tokens of a client while another is checked; a further one is an offense. */
const MOST_BUSY = 3

/** Checks tokens. Before the first required one, no other message is handled. */
export class Authentication {
  readonly #access: Access
  readonly #answerer: Answerer
  #deadline: NodeJS.Timeout | undefined
  #busy = false
  /** Number of tokens that arrived while another was checked. */
  #tooMany = 0
  #isRequired: boolean

  constructor(access: Access, answerer: Answerer) {
    this.#access = access
    this.#answerer = answerer
    this.#isRequired = access.deadline !== null
  }

  /** Whether a token must be accepted before other messages are handled. */
  get isRequired(): boolean {
    return this.#isRequired
  }

  get refreshes(): boolean {
    return this.#access.refreshes
  }

  /** Asks the client for the first token, and starts the deadline. */
  ask(): void {
    const timeout = this.#access.deadline as number
    const { connection } = this.#answerer
    connection.send(authenticateText(timeout))
    this.#deadline = setTimeout(() => this.#tooLate(), timeout)
    this.#deadline.unref()
  }

  /** Handles a message `koaws:auth`. */
  received(id: number | undefined, data: unknown): void {
    const answerer = this.#answerer
    const { token } = fieldsOf(data)
    if (id === undefined || typeof token !== 'string' || token === '') {
      const message = `${AUTH} needs an id and { token }`
      answerer.offend(faultBody('ERR_KOAWS_MALFORMED', message), id, AUTH)
    } else if (!this.#isRequired && !this.refreshes) {
      const message = 'This connection takes no new token'
      answerer.replyError(faultBody('ERR_KOAWS_UNKNOWN_TYPE', message), id, undefined)
    } else if (this.#busy) {
      this.#refuseBusy(id)
    } else {
      this.#busy = true
      void this.#access.authorise(token).then(
        (authorisation) => this.#accepted(id, authorisation),
        (error: unknown) => this.#rejected(id, error),
      )
    }
  }

  /** Rejects a token while another is checked; repeated ones are offenses, as a check costs. */
  #refuseBusy(id: number): void {
    const body = faultBody('ERR_KOAWS_BUSY', 'Another token is being checked')
    this.#tooMany++
    if (this.#tooMany <= MOST_BUSY) this.#answerer.replyError(body, id, undefined)
    else this.#answerer.offend(body, id, undefined)
  }

  /** Stops the deadline when the connection has ended. */
  end(): void {
    clearTimeout(this.#deadline)
  }

  #accepted(id: number, { expiresAt }: Authorisation): void {
    this.#busy = false
    this.#answerer.reply(id, { expiresAt })
    if (!this.#isRequired) return
    this.#isRequired = false
    clearTimeout(this.#deadline)
    this.#answerer.open()
  }

  #rejected(id: number, error: unknown): void {
    this.#busy = false
    const { connection } = this.#answerer
    const body = rejectionOf(error)
    if (body === null && codeOf(error) !== 'ERR_KOAWS_CLIENT_GONE')
      this.#answerer.report(error, AUTH)
    if (connection.readyState !== connection.OPEN) return
    if (this.#isRequired) this.#turnAway(id, body)
    else if (body) this.#answerer.offend(body, id, undefined)
    else this.#answerer.replyError(INTERNAL, id, undefined)
  }

  /** Rejects the first token, and closes the connection. */
  #turnAway(id: number, body: ErrorBody | null): void {
    const { connection } = this.#answerer
    clearTimeout(this.#deadline)
    this.#answerer.replyError(body ?? INTERNAL, id, undefined)
    if (body === null) {
      coreOf(connection).closeForCause(CloseCode.internal, '')
      return
    }
    this.#answerer.count('badToken')
    coreOf(connection).closeForCause(closeCodeForStatus(body.status), closeReason(body.message))
  }

  #tooLate(): void {
    const { connection } = this.#answerer
    if (connection.readyState !== connection.OPEN) return
    this.#answerer.count('neverAuthenticated')
    coreOf(connection).closeForCause(CloseCode.silent, 'not authenticated in time')
  }
}

/** Returns the error body of a rejection; null when the authentication itself failed. */
function rejectionOf(error: unknown): ErrorBody | null {
  const { status, message } = exposureOf(error)
  if (status === null || status >= 500) return null
  const told = message ?? STATUS_CODES[status] ?? 'Rejected'
  return { ...faultBody('ERR_KOAWS_AUTH', told), status }
}
