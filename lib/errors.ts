// The error classes, and functions that read thrown values without throwing.

import { STATUS_CODES } from 'node:http'
import { format, inspect, types } from 'node:util'
import { type ErrorCode, errorInfo, errorTable } from './error-table.ts'
import { fieldsOf, isIntegerWithin } from './fields.ts'

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
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, KoaWsError } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs({ maxRooms: 1 }))
 * app.use(
 *   accept((connection) => {
 *     try {
 *       void connection.join('one', 'two')
 *     } catch (error) {
 *       if (error instanceof KoaWsError) connection.send(error.code)
 *     }
 *   }),
 * )
 *
 * const socket = await testApp(app).connect('/')
 * console.log(await socket.next()) // ERR_KOAWS_MAX_ROOMS
 * ```
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

  /**
   * @param code a key of the error table, or a code of the application
   * @param message the client may read it only where `expose` is true
   * @param init what differs from the error table
   */
  constructor(code: ErrorCode | (string & {}), message: string, init: KoaWsErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause })
    const entry = errorInfo(code)
    this.name = new.target.name
    this.code = code
    this.status = init.status ?? entry.status ?? undefined
    this.closeCode = entry.closeCode ?? undefined
    this.expose = init.expose ?? entry.expose
    this.headers = init.headers
  }
}

/**
 * The error of an upgrade that is still being decided: before the 101.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { UpgradeError } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(async (ctx) => {
 *   try {
 *     await ctx.ws?.({ subprotocol: 'chat.v1' })
 *   } catch (error) {
 *     if (error instanceof UpgradeError) ctx.throw(400, `${error.code}: offer chat.v1`)
 *     throw error
 *   }
 * })
 *
 * await testApp(app)
 *   .connect('/', { protocols: 'chat.v2' })
 *   .catch((error) => console.log(error.body)) // ERR_KOAWS_SUBPROTOCOL: offer chat.v1
 * ```
 */
export class UpgradeError extends KoaWsError {}

/**
 * The error of an adapter or an emitter: something between the instances failed.
 *
 * @example
 * ```js
 * import { AdapterError } from 'koaws'
 * import { redisEmitter } from 'koaws/redis'
 *
 * const emitter = redisEmitter({
 *   client: { publish: () => Promise.reject(new Error('READONLY')) },
 * })
 * try {
 *   await emitter.room('lobby').send('hi')
 * } catch (error) {
 *   console.log(error instanceof AdapterError && error.code) // ERR_KOAWS_BACKPLANE
 * }
 * ```
 */
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

const messageErrors = new WeakSet<object>()

/**
 * An error that answers a message of `koaws.v1`. On the server: throw it in a handler (or call
 * `message.throw()`), and the client gets all of it. It is also what `connection.request()` rejects
 * with when the client answers with an error; then `message` and `data` are what the client says.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, MessageError, messages } from 'koaws'
 * import { connect } from 'koaws/client'
 * import { testApp } from 'koaws/testing'
 *
 * const chat = messages().on('buy', () => {
 *   throw new MessageError(409, 'Sold out', { code: 'sold_out', data: { left: 0 } })
 * })
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(accept(chat))
 *
 * const client = connect('ws://app/', { WebSocket: testApp(app).webSocket() })
 * await client.request('buy').catch((error) => console.log(error.code, error.data)) // sold_out { left: 0 }
 * client.close()
 * ```
 */
export class MessageError extends KoaWsError {
  /** The status in the error that answers the message: 400 to 599. */
  declare status: number
  /** Whether the same request may succeed later. */
  readonly retryable: boolean
  /** Further data of the error. */
  readonly data: unknown

  /**
   * @param status an integer from 400 to 599, with its meaning in HTTP
   * @param message by default the text of the status
   * @param init a code, data for the client, and whether a retry may succeed
   * @throws RangeError for another status
   */
  constructor(status: number, message?: string, init: MessageErrorInit = {}) {
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(
        `The status of a MessageError must be an integer from 400 to 599, not ${String(status)}.`,
      )
    }
    const { code = statusCode(status), cause, expose = true } = init
    super(code, message ?? STATUS_CODES[status] ?? String(status), { status, cause, expose })
    this.retryable = init.retryable ?? isRetryable(status)
    this.data = init.data
    messageErrors.add(this)
  }
}

/** The error in a message: `docs/protocol.md`, section 4. */
export interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly status: number
  readonly retryable: boolean
  readonly data?: unknown
}

/** Returns the body of an error of koaws that answers a message, as the table of codes has it. */
export function faultBody(code: ErrorCode, message: string, data?: unknown): ErrorBody {
  const { reply, status, client } = errorTable[code]
  const body = { code, message, status: reply ?? status ?? 500, retryable: client === 'back off' }
  return data === undefined ? body : { ...body, data }
}

/** Returns the error with such a body. Its text may be shown. */
export function faultOf({ status, message, ...init }: ErrorBody, cause?: unknown): MessageError {
  return new MessageError(status, message, { ...init, cause })
}

/** Whether a thrown value is a `MessageError`: false for a Proxy of one, since its traps may throw. */
export function isMessageError(thrown: unknown): thrown is MessageError {
  return typeof thrown === 'object' && thrown !== null && messageErrors.has(thrown)
}

/** Whether a request that failed with a status may succeed later, when the error itself does not say so. */
export function isRetryable(status: number): boolean {
  return RETRYABLE.has(status)
}

/** The text of a status as a name for programs: 404 is `not_found`. */
export function statusCode(status: number): string {
  const text = STATUS_CODES[status] ?? `status ${status}`
  return text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')
}

/**
 * The error of an option that koaws cannot use; the message says what to do.
 *
 * @example
 * ```js
 * import koaWs, { OptionsError } from 'koaws'
 *
 * try {
 *   koaWs({ heartbeat: { interval: 1_000, timeout: 5_000 } })
 * } catch (error) {
 *   console.log(error instanceof OptionsError && error.code) // ERR_KOAWS_OPTIONS
 * }
 * ```
 */
export class OptionsError extends KoaWsError {
  /** @param message what is wrong, and what to do */
  constructor(message: string) {
    super('ERR_KOAWS_OPTIONS', message)
  }
}

/**
 * Returns an `Error` for a thrown value: the value itself, or a wrapper when it is not an error. Never
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

/**
 * Something that was thrown, for Koa's error handling: itself, unless Koa would throw while it reads or
 * writes it (a Proxy, a getter that throws, a frozen error, a BigInt). Then an `Error` in its place, of an
 * error with the same status and message. Never throws.
 */
export function presentable(thrown: unknown): unknown {
  try {
    if (isReadable(thrown)) return thrown
  } catch {
    // Reading it throws: see below.
  }
  const error = toError(thrown)
  if (error !== thrown) return error
  const { status, message } = exposureOf(error)
  const copy = new Error(message ?? messageTextOf(error), { cause: error })
  return Object.assign(copy, status !== null && { status, expose: message !== null })
}

/** Whether Koa can read and write something that was thrown. Throws itself where reading does. */
function isReadable(thrown: unknown): boolean {
  if (types.isProxy(thrown)) return false
  if (!(thrown instanceof Error)) return format('%j', thrown) !== '' // as Koa shows it
  const fields = fieldsOf(thrown)
  for (const name of READ_BY_KOA) void fields[name]
  return Object.isExtensible(thrown) && !hasStackGetter(thrown)
}

const READ_BY_KOA = ['then', 'message', 'name', 'code', 'status', 'statusCode', 'expose', 'headers']

/** Formatting a `stack` is expensive, so this looks for a getter in place of reading it. */
function hasStackGetter(error: Error): boolean {
  const getter = Object.getOwnPropertyDescriptor(error, 'stack')?.get
  return getter !== undefined && getter !== NATIVE_STACK_GETTER
}

const NATIVE_STACK_GETTER = Object.getOwnPropertyDescriptor(new Error(), 'stack')?.get

function messageTextOf(error: Error): string {
  try {
    return String(error.message)
  } catch {
    return 'something was thrown that cannot be shown'
  }
}

const turnedAway = new WeakSet<Error>()

/** Mark an error as no more than this: `onConnect` has closed the connection. */
export function markTurnedAway<E extends Error>(error: E): E {
  turnedAway.add(error)
  return error
}

/** Whether an error was marked: nothing that has to be reported. */
export function isTurnedAway(error: Error): boolean {
  return turnedAway.has(error)
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
    const { status, statusCode, expose, message } = fieldsOf(error)
    const code = Number.isInteger(status) ? status : statusCode
    return {
      status: isIntegerWithin(code, 400, 599) ? code : null,
      message: expose === true ? String(message) : null,
    }
  } catch {
    return { status: null, message: null }
  }
}
