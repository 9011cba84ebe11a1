import { type DebugLogger, debuglog } from 'node:util'

/** `NODE_DEBUG=koaws:upgrade`: what became of each upgrade, and hints about the set-up. */
export const debugUpgrade: DebugLogger = debuglog('koaws:upgrade')

/** `NODE_DEBUG=koaws:connection`: errors and discarded messages of accepted connections. */
export const debugConnection: DebugLogger = debuglog('koaws:connection')

/** `NODE_DEBUG=koaws:backplane`: what joins the instances comes and goes, and what did not arrive. */
export const debugBackplane: DebugLogger = debuglog('koaws:backplane')

/** The message of whatever was thrown, without ever throwing itself. */
export function messageOf(thrown: unknown): string {
  try {
    return loggable((thrown as { message?: unknown } | null | undefined)?.message ?? thrown)
  } catch {
    return 'something that cannot be shown'
  }
}

/** The path of a request, for a log line: a query may hold a credential. */
export function loggablePath(url: string | undefined): string {
  return loggable((url ?? '').split('?', 1)[0])
}

/** The path of a request, control characters escaped and cut to 200 characters. */
export function pathOf(url: string | undefined): string {
  const quoted = loggablePath(url)
  return quoted.slice(1, quoted.endsWith('…"') ? -2 : -1)
}

/**
 * A value that a client chose, made safe for one log line: control characters escaped, at most 200
 * characters.
 */
export function loggable(value: unknown): string {
  const text = JSON.stringify(String(value))
  return text.length > 202 ? `${text.slice(0, 200)}…"` : text
}
