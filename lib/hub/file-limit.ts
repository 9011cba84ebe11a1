// Reads how many files the process may open, and warns when connections can use them up.

import { readFileSync } from 'node:fs'
import { warnOnce } from '../warn.ts'

/** A server without `maxConnections` gets a warning below this limit. */
const LOW = 4_096

/** Number of descriptors reserved for Node itself, files, databases and probes. */
const RESERVE = 64

let known: number | null | undefined

/**
 * Warns once per process when connections can use up its file descriptors. Node does not report
 * this: libuv accepts and closes the connection at once (EMFILE). The client sees a reset, and Node
 * emits no event.
 *
 * @param maxConnections the option; `Infinity` when it is not set
 */
export function warnOfFileLimit(maxConnections: number): void {
  if (known === undefined) known = readFileLimit()
  const warning = fileLimitWarning(known, maxConnections)
  if (warning !== null) warnOnce('KOAWS_FILE_LIMIT', warning, { inProduction: true })
}

/** Returns the warning about `maxConnections`; null when it fits, or the limit is unknown. */
export function fileLimitWarning(limit: number | null, maxConnections: number): string | null {
  if (limit === null) return null
  const advice =
    'Raise the hard limit ("ulimit -Hn", LimitNOFILE of systemd, --ulimit of Docker), or'
  if (maxConnections === Infinity) {
    if (limit >= LOW) return null
    return (
      `This process may open ${limit} files and sockets, and koaWs() has no "maxConnections". Above the limit the system resets clients before Node sees them. ` +
      `${advice} set "maxConnections" to ${most(limit)} or less: then a client gets 503.`
    )
  }
  if (maxConnections <= limit - RESERVE) return null
  return (
    `"maxConnections" is ${maxConnections}, and this process may open ${limit} files and sockets: above the limit the system resets clients before Node sees them. ` +
    `${advice} set "maxConnections" to ${most(limit)} or less: ${RESERVE} stay for files, databases and probes.`
  )
}

function most(limit: number): number {
  return Math.max(1, limit - RESERVE)
}

/**
 * Returns the soft limit of this process, which Node raises to the hard limit on start. Null when
 * it is unlimited or unknown: only Linux publishes it in a file.
 */
function readFileLimit(): number | null {
  if (process.platform !== 'linux') return null
  try {
    return parseFileLimit(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return null
  }
}

/** Returns the soft limit in `/proc/self/limits` (proc_pid_limits(5)); null for `unlimited`. */
export function parseFileLimit(text: string): number | null {
  const [, soft] = /^Max open files\s+(\d+)\s/m.exec(text) ?? []
  return soft === undefined ? null : Number(soft)
}
