import { STATUS_CODES } from 'node:http'
import { inspect } from 'node:util'

/** The stable names of koaws' errors. */
export type ErrorCode =
  | 'ERR_KOAWS_BAD_HANDSHAKE'
  | 'ERR_KOAWS_VERSION'
  | 'ERR_KOAWS_ORIGIN'
  | 'ERR_KOAWS_TOO_MANY'
  | 'ERR_KOAWS_DRAINING'
  | 'ERR_KOAWS_DEADLINE'
  | 'ERR_KOAWS_CLIENT_GONE'
  | 'ERR_KOAWS_ALREADY_ACCEPTED'
  | 'ERR_KOAWS_RESPONDED'
  | 'ERR_KOAWS_NOT_INSTALLED'
  | 'ERR_KOAWS_NOT_AN_UPGRADE'
  | 'ERR_KOAWS_SUBPROTOCOL'
  | 'ERR_KOAWS_BEARER'
  | 'ERR_KOAWS_EXPIRED'
  | 'ERR_KOAWS_OPTIONS'
  | 'ERR_KOAWS_ITERATING'
  | 'ERR_KOAWS_NO_AUDIENCE'
  | 'ERR_KOAWS_CLOSED'
  | 'ERR_KOAWS_SLOW_CONSUMER'
  | 'ERR_KOAWS_MAX_ROOMS'
  | 'ERR_KOAWS_NOT_NEGOTIATED'
  | 'ERR_KOAWS_ALREADY_REPLIED'
  | 'ERR_KOAWS_TIMEOUT'
  | 'ERR_KOAWS_BACKPLANE'
  | 'ERR_KOAWS_BACKPLANE_REFUSED'
  | MessageFault

/** The codes of errors that answer a message: `docs/protocol.md`, section 4. */
export type MessageFault =
  | 'ERR_KOAWS_MALFORMED'
  | 'ERR_KOAWS_BINARY'
  | 'ERR_KOAWS_TOO_LARGE'
  | 'ERR_KOAWS_TOO_DEEP'
  | 'ERR_KOAWS_PROTOTYPE_KEY'
  | 'ERR_KOAWS_UNKNOWN_TYPE'
  | 'ERR_KOAWS_INVALID'
  | 'ERR_KOAWS_UNAUTHENTICATED'
  | 'ERR_KOAWS_AUTH'
  | 'ERR_KOAWS_BUSY'
  | 'ERR_KOAWS_UNHANDLED'

/**
 * Every error of koaws, and what each looks like from outside: the HTTP status before the 101, the
 * close code after it. `docs/reference/errors.md` is generated from this table.
 */
export interface ErrorInfo {
  /** The HTTP status that a client gets before the 101, or null where none is sent. */
  readonly status: number | null
  /** The close code that a client gets after the 101, or null where none is sent. */
  readonly closeCode: number | null
  /** The status in the error that answers a message of `koaws.v1`, or null where none is sent. */
  readonly reply: number | null
  /** What a client should do. */
  readonly client: 'stop' | 'back off' | '–'
  /** Whether the message may be shown to the client (http-errors' `expose`). */
  readonly expose: boolean
  /** When it happens and what to do, for the reference. */
  readonly meaning: string
}

const info = (
  status: number | null,
  client: ErrorInfo['client'],
  expose: boolean,
  meaning: string,
): ErrorInfo => ({ status, closeCode: null, reply: null, client, expose, meaning })

const fault = (reply: number, client: ErrorInfo['client'], meaning: string): ErrorInfo => ({
  status: null,
  closeCode: null,
  reply,
  client,
  expose: true,
  meaning,
})

/** The table of codes. */
export const errorTable: Readonly<Record<ErrorCode, ErrorInfo>> = {
  ERR_KOAWS_BAD_HANDSHAKE: info(
    400,
    'stop',
    true,
    'The request is no well-formed WebSocket handshake (RFC 6455, section 4.2.1): key, Host, HTTP version, a declared body or the list of subprotocols. 405 when the method is not GET.',
  ),
  ERR_KOAWS_VERSION: info(
    426,
    'stop',
    true,
    '`Sec-WebSocket-Version` is not exactly 13. The answer names the version that is supported.',
  ),
  ERR_KOAWS_ORIGIN: info(
    403,
    'stop',
    true,
    'The page that opens the WebSocket comes from an origin, or names a host, that is not allowed. See the options `origin` and `hosts`.',
  ),
  ERR_KOAWS_TOO_MANY: info(
    503,
    'back off',
    true,
    '`maxConnections` (503) or `maxPerAddress` (429) is reached. Pending upgrades count.',
  ),
  ERR_KOAWS_DRAINING: info(
    503,
    'back off',
    true,
    '`hub.close()` was called; the answer has `Retry-After`. Also in the error that answers a message which comes then.',
  ),
  ERR_KOAWS_DEADLINE: info(
    503,
    'back off',
    true,
    'The middleware chain took longer than `handshakeTimeout`.',
  ),
  ERR_KOAWS_CLIENT_GONE: info(
    null,
    '–',
    true,
    'The client left before the upgrade was decided. Quiet: Koa’s default error handler prints nothing for it.',
  ),
  ERR_KOAWS_ALREADY_ACCEPTED: info(
    500,
    '–',
    false,
    'A second handler for one upgrade, or `ctx.ws(handler)` and `await ctx.ws()` mixed. Accept in one place.',
  ),
  ERR_KOAWS_RESPONDED: info(
    500,
    '–',
    false,
    '`ctx.ws` was called after an HTTP response had begun.',
  ),
  ERR_KOAWS_NOT_INSTALLED: info(
    500,
    '–',
    false,
    'An upgrade reached `accept()`, `bearer()` or `hub.route()` without having passed the plugin. Move `app.use(koaWs())` before it.',
  ),
  ERR_KOAWS_NOT_AN_UPGRADE: info(
    426,
    '–',
    true,
    'A plain HTTP request reached `accept()`. The answer says `Upgrade: websocket`.',
  ),
  ERR_KOAWS_SUBPROTOCOL: info(
    400,
    'stop',
    true,
    'None of the subprotocols that the client offers is one that the route speaks, or only credentials were offered.',
  ),
  ERR_KOAWS_BEARER: info(
    400,
    'stop',
    true,
    'Two different tokens came with one handshake, or a bearer entry cannot be decoded.',
  ),
  ERR_KOAWS_EXPIRED: info(
    401,
    'stop',
    true,
    'The authorisation (`expiresAt`, or the `exp` of koa-jwt’s token) had already ended at the handshake.',
  ),
  ERR_KOAWS_OPTIONS: info(
    null,
    '–',
    false,
    'An option is unknown, of the wrong type, or contradicts another. Thrown where the option is given.',
  ),
  ERR_KOAWS_ITERATING: info(
    null,
    '–',
    false,
    'A second `for await` over a connection that a loop is reading already.',
  ),
  ERR_KOAWS_NO_AUDIENCE: info(
    null,
    '–',
    false,
    'A connection that was accepted with `hub: false` was to join a room: it is in no audience.',
  ),
  ERR_KOAWS_CLOSED: info(
    null,
    '–',
    false,
    'The connection, or the hub, is closed and cannot do what was asked.',
  ),
  ERR_KOAWS_SLOW_CONSUMER: {
    ...info(
      null,
      'back off',
      false,
      'A message was not sent, because the client takes less than it is sent: see the options `maxBufferedAmount` and `slowConsumer`. Given to the callback of `connection.send()`.',
    ),
    closeCode: 4610,
  },
  ERR_KOAWS_MAX_ROOMS: info(
    null,
    '–',
    false,
    'A connection was to be in more rooms than the option `maxRooms` allows. It entered none of those that were asked for.',
  ),
  ERR_KOAWS_NOT_NEGOTIATED: info(
    null,
    '–',
    false,
    '`connection.push()` or `connection.request()` on a connection that does not speak `koaws.v1`, or that no `messages()` serve.',
  ),
  ERR_KOAWS_ALREADY_REPLIED: info(
    null,
    '–',
    false,
    'A handler replied twice to one request: with `message.reply()` two times, or with `message.reply()` and a returned value.',
  ),
  ERR_KOAWS_TIMEOUT: info(
    null,
    '–',
    false,
    'A request was not answered in time: `connection.request()` on the server, `client.request()` on the client. It may have been carried out.',
  ),
  ERR_KOAWS_BACKPLANE: info(
    null,
    '–',
    false,
    'What joins the instances (Redis, the socket of a neighbour) is away, and nobody knows whether it took what was published. Also thrown by `clusterAdapter()` where it cannot make its folder.',
  ),
  ERR_KOAWS_BACKPLANE_REFUSED: info(
    null,
    '–',
    false,
    'What joins the instances refused a publish and would again: with Redis, `NOPERM` for a user that may not publish there.',
  ),
  ERR_KOAWS_MALFORMED: fault(
    400,
    'stop',
    'The message is no JSON, no object, or its `type` or `id` are not as the protocol has them.',
  ),
  ERR_KOAWS_BINARY: fault(400, 'stop', 'A binary message; `koaws.v1` has text messages only.'),
  ERR_KOAWS_TOO_LARGE: fault(413, 'stop', 'The message is above `maxMessage` of `messages()`.'),
  ERR_KOAWS_TOO_DEEP: fault(400, 'stop', 'Arrays and objects are nested more than 32 deep.'),
  ERR_KOAWS_PROTOTYPE_KEY: fault(
    400,
    'stop',
    'An object in the message has the name `__proto__`, or `constructor` with a `prototype`.',
  ),
  ERR_KOAWS_UNKNOWN_TYPE: fault(404, 'stop', 'Nobody handles messages of this type.'),
  ERR_KOAWS_INVALID: fault(
    400,
    'stop',
    'The data are not what the schema allows: `data.issues` says where. On the server also thrown by a push or reply whose data do not fit (`validateOut`).',
  ),
  ERR_KOAWS_UNAUTHENTICATED: fault(
    401,
    'stop',
    'A message came before the token was accepted (the option `authenticate`).',
  ),
  ERR_KOAWS_AUTH: fault(
    401,
    'stop',
    'The token in a `koaws:auth` was rejected. The status is that of the rejection.',
  ),
  ERR_KOAWS_BUSY: fault(409, 'back off', 'Another `koaws:auth` is being worked on.'),
  ERR_KOAWS_UNHANDLED: fault(
    404,
    '–',
    'Middleware of `messages()` neither replied nor called `next()`, so no handler ran.',
  ),
}

/** What an error carries beyond its code and message. */
export interface KoaWsErrorInit {
  /** The status, where it differs from the table's. */
  status?: number
  /** Response headers that Koa's error handling sends with it. */
  headers?: Record<string, string>
  /** Whether the client may read the message, where that differs from the table's. */
  expose?: boolean
  /** What caused it. */
  cause?: unknown
}

/**
 * The base of all errors of koaws. It has the shape of http-errors (`status`, `expose`,
 * `headers`), so throwing one in middleware gives the right HTTP answer.
 */
export class KoaWsError extends Error {
  /** A stable name for programs: a key of the error table. */
  readonly code: ErrorCode | (string & {})
  /** The HTTP status before the 101; undefined where none is sent. */
  status: number | undefined
  /** The close code after the 101; undefined where none is sent. */
  readonly closeCode: number | undefined
  /** Whether the message may be shown to the client. */
  readonly expose: boolean
  /** Headers for the HTTP answer. */
  readonly headers: Record<string, string> | undefined

  constructor(code: ErrorCode | (string & {}), message: string, init: KoaWsErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause })
    const entry = Object.hasOwn(errorTable, code) ? errorTable[code as ErrorCode] : UNLISTED
    this.name = new.target.name
    this.code = code
    this.status = init.status ?? entry.status ?? undefined
    this.closeCode = entry.closeCode ?? undefined
    this.expose = init.expose ?? entry.expose
    this.headers = init.headers
  }
}

/** Of a code that is the application's own. */
const UNLISTED: ErrorInfo = info(null, '–', true, '')

/** Thrown, or a rejection, while an upgrade is being decided: before the 101. */
export class UpgradeError extends KoaWsError {}

/** Something between the instances failed: thrown or a rejection of an adapter or an emitter. */
export class AdapterError extends KoaWsError {}

/** What a `MessageError` carries beyond status and message. */
export interface MessageErrorInit {
  /** A stable name for programs. @default the status text, such as 'not_found' */
  code?: string | undefined
  /** Whether the same request may succeed later. @default true for 408, 425, 429, 502, 503 and 504 */
  retryable?: boolean | undefined
  /** Any value with a JSON form. */
  data?: unknown
  /** Whether the client that sent the message gets it; false: it gets `internal`. @default true */
  expose?: boolean | undefined
  /** What caused it; never told to a client. */
  cause?: unknown
}

const RETRYABLE: ReadonlySet<number> = new Set([408, 425, 429, 502, 503, 504])

/**
 * An error that answers a message of `koaws.v1`. On the server: throw it in a handler (or call
 * `message.throw()`), and the client gets all of it. It is also what `connection.request()` rejects
 * with when the client answers with an error; then `message` and `data` are what the client says.
 */
export class MessageError extends KoaWsError {
  declare status: number
  /** Whether the same request may succeed later. */
  readonly retryable: boolean
  /** What else it says. */
  readonly data: unknown

  /** @throws RangeError for a status that is no integer from 400 to 599 */
  constructor(status: number, message?: string, init: MessageErrorInit = {}) {
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(`The status of a MessageError is 400 to 599, not ${String(status)}.`)
    }
    const { code = statusCode(status), cause, expose = true } = init
    super(code, message ?? STATUS_CODES[status] ?? String(status), { status, cause, expose })
    this.retryable = init.retryable ?? isRetryable(status)
    this.data = init.data
  }
}

/** Whether a request that failed with a status may succeed later, where nobody says so. */
export function isRetryable(status: number): boolean {
  return RETRYABLE.has(status)
}

/** The text of a status as a name for programs: 404 is `not_found`. */
export function statusCode(status: number): string {
  const text = STATUS_CODES[status] ?? `status ${status}`
  return text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')
}

/** Thrown where an option is given that koaws cannot use; the message says what to do. */
export class OptionsError extends KoaWsError {
  constructor(message: string) {
    super('ERR_KOAWS_OPTIONS', message)
  }
}

/**
 * An `Error` for whatever was thrown: itself, or a wrapper around something that is no error. Never
 * throws, however odd the thing is.
 */
export function toError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) return thrown
    if (Object.prototype.toString.call(thrown) === '[object Error]') return thrown as Error
    const shown = typeof thrown === 'string' ? thrown : inspect(thrown, { depth: 1 })
    return new Error(`non-error thrown: ${shown.slice(0, 200)}`, { cause: thrown })
  } catch {
    return new Error('something was thrown that cannot be shown')
  }
}

/** What an error says of itself to a client, in the manner of http-errors. */
export interface Exposure {
  /** An HTTP status of 400 to 599, or null. */
  readonly status: number | null
  /** The message, where the client may read it. */
  readonly message: string | null
}

/** Read an error's `status`, `expose` and `message`, any of which may be a getter that throws. */
export function exposureOf(error: unknown): Exposure {
  try {
    const { status, statusCode, expose, message } = error as Record<string, unknown>
    const code = Number.isInteger(status) ? (status as number) : statusCode
    const known = Number.isInteger(code) && (code as number) >= 400 && (code as number) < 600
    return {
      status: known ? (code as number) : null,
      message: expose === true ? String(message) : null,
    }
  } catch {
    return { status: null, message: null }
  }
}
