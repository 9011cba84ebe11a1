// Tells refusals of Redis from temporary errors.
import { loggable } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import { fieldsOf } from '../../fields.ts'

/** Codes of a server that is not ready or not the primary: another attempt may succeed. */
const TRANSIENT = new Set([
  'LOADING',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'NOAUTH',
  'WRONGPASS',
  'READONLY',
  'NOREPLICAS',
  'MISCONF',
  'OOM',
  'BUSY',
])

/** Returns whether Redis answered with an error that another attempt would get too. */
export function isRefusal(error: unknown): boolean {
  if (!isReply(error)) return false
  return !TRANSIENT.has(codeOf(error))
}

/** Returns the code at the beginning of an error that Redis answered; else an empty string. */
export function codeOf(error: unknown): string {
  if (!isReply(error)) return ''
  const message = String(fieldsOf(error)['message'])
  // The code of a refused command of a script: Redis 7.0 and 7.2 have a text instead.
  if (/^ERR (?:The user executing the script can't|ACL failure in script)/.test(message)) {
    return 'NOPERM'
  }
  // Redis before 7 wraps the error of a command of a script: `ERR Error running script …: -OOM …`.
  const [, inner] = /^ERR Error running script .*: -([A-Z]+) /.exec(message) ?? []
  return inner ?? /^[A-Z]+/.exec(message)?.[0] ?? ''
}

/** Returns an adapter error for an error of a Redis client. */
export function adapterError(what: string, error: unknown): AdapterError {
  if (error instanceof AdapterError) return error
  const code = isRefusal(error) ? 'ERR_KOAWS_BACKPLANE_REFUSED' : 'ERR_KOAWS_BACKPLANE'
  return new AdapterError(code, `${what}: ${textOf(error)}`, { cause: error })
}

/** Returns the message of an error with its code, as one line of at most 200 characters. */
export function textOf(error: unknown): string {
  // Node throws an AggregateError without a message when a host name has several addresses.
  const one = error instanceof AggregateError ? (error.errors[0] as unknown) : error
  const { message, code } = fieldsOf(one)
  const text = String(message || code || one)
  const named = typeof code === 'string' && !text.includes(code) ? `${text} (${code})` : text
  const quoted = loggable(named)
  return quoted.slice(1, quoted.endsWith('…"') ? -2 : -1)
}

/** Returns whether an error is a reply of Redis: node-redis has subclasses of `ErrorReply`. */
function isReply(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = Object.getPrototypeOf(at)) {
    const name = (at as Error).constructor.name
    if (name === 'ReplyError' || name === 'ErrorReply') return true
  }
  return false
}
