// The option `perMessageDeflate`.

import { deflateRawSync, type ZlibOptions } from 'node:zlib'
import { OptionsError, toError } from '../errors.ts'
import { isIntegerWithin } from '../fields.ts'
import { type Check, check, describe, validate } from '../validate.ts'

/** Options of permessage-deflate (RFC 7692), as ws takes them. */
export interface DeflateOptions {
  /** Whether the server starts each message anew; keeping context costs memory. @default true */
  serverNoContextTakeover?: boolean | undefined
  /** The same for the client. */
  clientNoContextTakeover?: boolean | undefined
  /** Messages below this many bytes are not compressed. @default 1024 */
  threshold?: number | undefined
  /** How many messages are compressed at a time. @default 4 */
  concurrencyLimit?: number | undefined
  /** Options of zlib's deflate. */
  zlibDeflateOptions?: object | undefined
  /** Options of zlib's inflate. */
  zlibInflateOptions?: object | undefined
}

const DEFLATE: DeflateOptions = {
  serverNoContextTakeover: true,
  threshold: 1024,
  concurrencyLimit: 4,
}

const zlibOptions: Check = (value) => {
  if (typeof value !== 'object' || value === null) {
    return `must be an object of zlib options, not ${describe(value)}.`
  }
  return 'info' in value ? 'must be without "info", which changes the result of zlib.' : null
}

const bytes: Check = (value) =>
  isIntegerWithin(value, 0, Number.MAX_SAFE_INTEGER)
    ? null
    : `must be a whole number of bytes, 0 or more, not ${describe(value)}.`

const deflateChecks: Record<string, Check> = {
  serverNoContextTakeover: check.boolean,
  clientNoContextTakeover: check.boolean,
  threshold: bytes,
  concurrencyLimit: check.count,
  zlibDeflateOptions: zlibOptions,
  zlibInflateOptions: zlibOptions,
}

/** Checks the option `perMessageDeflate`. */
export const deflateCheck: Check = (value) => {
  if (typeof value === 'boolean') return null
  validate('perMessageDeflate', value, deflateChecks)
  return null
}

/** Fills in what is not set; false without compression. */
export function resolveDeflate(
  given: boolean | DeflateOptions | undefined,
): false | DeflateOptions {
  if (!given) return false
  const deflate = given === true ? DEFLATE : { ...DEFLATE, ...given }
  try {
    deflateRawSync(Buffer.alloc(1), deflate.zlibDeflateOptions as ZlibOptions)
  } catch (error) {
    throw new OptionsError(`koaWs(): zlib refuses "zlibDeflateOptions": ${toError(error).message}`)
  }
  // An empty message is never worth it, and ws gives no sign that it is compressing one.
  return { ...deflate, threshold: Math.max(1, deflate.threshold ?? 1024) }
}
