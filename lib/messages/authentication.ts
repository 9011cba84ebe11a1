import { STATUS_CODES } from 'node:http'
import { type Connection, internals } from '../connection/connection.ts'
import type { MessageDrop } from '../connection/owner.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import { exposureOf } from '../errors.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import { authenticateText, type ErrorBody } from '../protocol/envelope.ts'
import { codeOf, faultBody, INTERNAL } from './error-reply.ts'

/** What an authentication does with its conversation. */
export interface AuthenticationHost {
  readonly connection: Connection
  /** The first token was accepted. */
  open(): void
  reply(id: number, value: unknown): void
  replyError(body: ErrorBody, id: number | undefined, about: string | undefined): void
  offend(body: ErrorBody, id?: number, about?: string): void
  count(reason: MessageDrop): void
  report(error: unknown, messageType: string): void
}

const AUTH = 'koaws:auth'

/** Tokens in messages: the first, where nothing is handled before, and those that come later. */
export class Authentication {
  readonly #access: Access
  readonly #host: AuthenticationHost
  #deadline: NodeJS.Timeout | undefined
  #busy = false
  #isRequired: boolean

  constructor(access: Access, host: AuthenticationHost) {
    this.#access = access
    this.#host = host
    this.#isRequired = access.deadline !== null
  }

  /** Whether nothing may be handled before a token was accepted. */
  get isRequired(): boolean {
    return this.#isRequired
  }

  get refreshes(): boolean {
    return this.#access.refreshes
  }

  /** Ask for the first token. */
  ask(): void {
    const timeout = this.#access.deadline as number
    const { connection } = this.#host
    connection.send(authenticateText(timeout))
    this.#deadline = setTimeout(() => this.#tooLate(), timeout)
    this.#deadline.unref()
  }

  /** A `koaws:auth` has come. */
  received(id: number | undefined, data: unknown): void {
    const host = this.#host
    const token = (data as { token?: unknown } | null | undefined)?.token
    if (id === undefined || typeof token !== 'string' || token === '') {
      const message = `${AUTH} needs an id and { token }`
      host.offend(faultBody('ERR_KOAWS_MALFORMED', message), id, AUTH)
    } else if (!this.#isRequired && !this.refreshes) {
      const message = 'This connection takes no new token'
      host.replyError(faultBody('ERR_KOAWS_UNKNOWN_TYPE', message), id, undefined)
    } else if (this.#busy) {
      const message = 'Another token is being looked at'
      host.replyError(faultBody('ERR_KOAWS_BUSY', message), id, undefined)
    } else {
      this.#busy = true
      void this.#access.authorise(token).then(
        (authorisation) => this.#accepted(id, authorisation),
        (error: unknown) => this.#rejected(id, error),
      )
    }
  }

  /** The connection has ended. */
  end(): void {
    clearTimeout(this.#deadline)
  }

  #accepted(id: number, { expiresAt }: Authorisation): void {
    this.#busy = false
    this.#host.reply(id, { expiresAt })
    if (!this.#isRequired) return
    this.#isRequired = false
    clearTimeout(this.#deadline)
    this.#host.open()
  }

  #rejected(id: number, error: unknown): void {
    this.#busy = false
    const { connection } = this.#host
    const body = rejectionOf(error)
    if (body === null && codeOf(error) !== 'ERR_KOAWS_CLIENT_GONE') this.#host.report(error, AUTH)
    if (connection.readyState !== connection.OPEN) return
    if (this.#isRequired) this.#turnAway(id, body)
    else if (body) this.#host.offend(body, id, undefined)
    else this.#host.replyError(INTERNAL, id, undefined)
  }

  /** The first token was not accepted. */
  #turnAway(id: number, body: ErrorBody | null): void {
    const { connection } = this.#host
    clearTimeout(this.#deadline)
    this.#host.replyError(body ?? INTERNAL, id, undefined)
    if (body === null) {
      internals.closeForCause(connection, CloseCode.internal, '')
      return
    }
    this.#host.count('badToken')
    internals.closeForCause(connection, closeCodeForStatus(body.status), closeReason(body.message))
  }

  #tooLate(): void {
    const { connection } = this.#host
    if (connection.readyState !== connection.OPEN) return
    this.#host.count('neverAuthenticated')
    internals.closeForCause(connection, CloseCode.silent, 'not authenticated in time')
  }
}

/** The token was rejected, with a status of the 400s; null when the authentication has failed itself. */
function rejectionOf(error: unknown): ErrorBody | null {
  const { status, message } = exposureOf(error)
  if (status === null || status >= 500) return null
  const told = message ?? STATUS_CODES[status] ?? 'Rejected'
  return { ...faultBody('ERR_KOAWS_AUTH', told), status }
}
