// Implements the option `reject`: rejections by close code instead of by HTTP status.

import { OptionsError } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import { closeCodeForStatus, isCloseCode } from '../protocol/close-codes.ts'
import { askOption, type Check, check, describe, validate } from '../validate.ts'

/**
 * `close` sends every rejection over the WebSocket, `http` over HTTP; `auto` chooses by the
 * client's subprotocol.
 */
export type RejectMode = 'auto' | 'http' | 'close'

/**
 * A close code and its reason. Without `reason` the client gets the message of the error, or the
 * name of the status.
 */
export interface RejectClose {
  /** A close code that may be sent (RFC 6455, section 7.4), such as 4401. */
  readonly code: number
  /** At most 123 bytes of UTF-8. @default the message of the error, or the text of the status */
  readonly reason?: string | undefined
}

/** How one rejection reaches the client: a mode, or the close code for every client. */
export type RejectAs = RejectMode | number | RejectClose

/**
 * How rejections reach the client. A function gets the HTTP status of each, and must be
 * synchronous.
 */
export type RejectOption = RejectAs | ((status: number) => RejectAs)

/** The close code and reason of a rejection over the WebSocket. */
export interface RejectionByClose {
  readonly code: number
  /** Undefined: the message of the rejection. */
  readonly reason: string | undefined
}

const MODES: readonly unknown[] = ['auto', 'http', 'close']

/** Returns the problem with a value of the option `reject` other than a function, or null. */
const rejectAs: Check = (value) => {
  if (typeof value === 'number') {
    return isCloseCode(value)
      ? null
      : `must be 1000 to 1003, 1007 to 1014, or 3000 to 4999, not ${value}.`
  }
  if (typeof value === 'object' && value !== null) {
    validate('reject', value, { code: rejectAs, reason })
    return typeof fieldsOf(value)['code'] === 'number' ? null : 'needs "code": a close code.'
  }
  return MODES.includes(value)
    ? null
    : `must be one of "auto", "http", "close", a close code, { code, reason }, or a function of the status, not ${describe(value)}.`
}

const reason: Check = (value) =>
  value === '' || (check.string(value) === null && Buffer.byteLength(value as string) <= 123)
    ? null
    : `must be a well-formed string of at most 123 bytes, not ${describe(value)}.`

/** Returns the problem with the option `reject`, or null. */
export const rejectCheck: Check = (value) => (typeof value === 'function' ? null : rejectAs(value))

/**
 * Returns the close code for a rejection with this status; null for an HTTP answer.
 *
 * @param speaksOurs whether the client offered `koaws.v1`
 * @throws an error of the option's function; OptionsError when its result is invalid
 */
export function rejectionByClose(
  option: RejectOption,
  status: number,
  speaksOurs: boolean,
): RejectionByClose | null {
  let as = option as RejectAs
  if (typeof option === 'function') {
    as = askOption('reject', () => option(status))
    const problem = rejectAs(as)
    if (problem)
      throw new OptionsError(`The result of the option "reject" for ${status} ${problem}`)
  }
  if (as === 'http' || (as === 'auto' && !speaksOurs)) return null
  if (typeof as === 'string') return { code: closeCodeForStatus(status), reason: undefined }
  return typeof as === 'number' ? { code: as, reason: undefined } : { reason: undefined, ...as }
}
