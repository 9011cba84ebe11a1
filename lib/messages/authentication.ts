import { type Connection, internals } from '../connection/connection.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import type { MessageFault } from '../errors.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import { authenticateText, type Envelope, type ErrorBody } from '../protocol/envelope.ts'
import { exposedBody, internalBody } from './error-reply.ts'

/** What an authentication does with its conversation. */
export interface AuthenticationHost {
  readonly connection: Connection
  /** The first token was accepted. */
  open(): void
  reply(id: number, value: unknown): void
  replyError(body: ErrorBody, id: number | undefined, about: string | undefined): void
  offend(code: MessageFault, message: string, about: Partial<Envelope>): void
  offendWith(body: ErrorBody, id: number | undefined, about: string | undefined): void
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
      host.offend('ERR_KOAWS_MALFORMED', `${AUTH} needs an id and { token }`, {
        type: AUTH,
        ...(id !== undefined && { id }),
      })
    } else if (!this.#isRequired && !this.refreshes) {
      const message = 'This connection takes no new token'
      const code = 'ERR_KOAWS_UNKNOWN_TYPE'
      host.replyError({ code, message, status: 404, retryable: false }, id, undefined)
    } else if (this.#busy) {
      const message = 'Another token is being looked at'
      host.replyError(
        { code: 'ERR_KOAWS_BUSY', message, status: 409, retryable: true },
        id,
        undefined,
      )
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
    const body = exposedBody(error)
    if (connection.readyState !== connection.OPEN) {
      if (!body && !isQuiet(error)) this.#host.report(error, AUTH)
      return
    }
    if (body) this.#host.offendWith({ ...body, code: 'ERR_KOAWS_AUTH' }, id, undefined)
    else {
      this.#host.report(error, AUTH)
      this.#host.replyError(internalBody(), id, undefined)
    }
    if (!this.#isRequired) return
    clearTimeout(this.#deadline)
    const { status, message } = body ?? { status: 500, message: '' }
    const code = status < 500 ? closeCodeForStatus(status) : CloseCode.internal
    internals.closeForCause(connection, code, closeReason(message))
  }

  #tooLate(): void {
    const { connection } = this.#host
    if (connection.readyState !== connection.OPEN) return
    internals.ownerOf(connection)?.count('neverAuthenticated', 1, connection)
    internals.closeForCause(connection, CloseCode.silent, 'not authenticated in time')
  }
}

/** The client has left, or the application has turned it away itself. */
function isQuiet(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'ERR_KOAWS_CLIENT_GONE'
}
