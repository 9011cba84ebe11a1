// Debug logs (`NODE_DEBUG`), and values from clients made safe to print.
import { type DebugLogger, debuglog } from 'node:util'
import { fieldsOf } from './fields.ts'

/** `NODE_DEBUG=koaws:upgrade`: the outcome of each upgrade, and hints about the setup. */
export const debugUpgrade: DebugLogger = debuglog('koaws:upgrade')

/** `NODE_DEBUG=koaws:connection`: errors and discarded messages of accepted connections. */
export const debugConnection: DebugLogger = debuglog('koaws:connection')

/** `NODE_DEBUG=koaws:backplane`: state changes of the backplane, and lost messages. */
export const debugBackplane: DebugLogger = debuglog('koaws:backplane')

/** Returns the message of a thrown value. Never throws. */
export function messageOf(thrown: unknown): string {
  try {
    return loggable(fieldsOf(thrown)['message'] ?? thrown)
  } catch {
    return 'something that cannot be shown'
  }
}

/** Returns the quoted path for a log line, without the query, which may hold a credential. */
export function loggablePath(url: string | undefined): string {
  return loggable((url ?? '').split('?', 1)[0])
}

/** Returns the path of a request, with escaped control characters, cut to 200 characters. */
export function pathOf(url: string | undefined): string {
  const quoted = loggablePath(url)
  return quoted.slice(1, quoted.endsWith('…"') ? -2 : -1)
}

/** Returns a value from a client, escaped and cut like `pathOf`, or undefined. */
export function clean(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  const quoted = loggable(value)
  return quoted.slice(1, quoted.endsWith('…"') ? -2 : -1)
}

/**
 * Returns a value from a client as a quoted string that is safe in one log line: control characters
 * are escaped, and the text is cut to 200 characters.
 */
export function loggable(value: unknown): string {
  const text = JSON.stringify(String(value))
  return text.length > 202 ? `${text.slice(0, 200)}…"` : text
}
