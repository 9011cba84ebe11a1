// Reads, normalizes and checks the entries of the options `origin` and `hosts`.
import { isIPv6 } from 'node:net'
import { type Check, check, describe } from '../validate.ts'

/** An entry of a list, in the form that browsers send; or the reason why it never matches. */
type Read = { readonly value: string } | { readonly problem: string }

const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^\s/?#@\\]*)$/i
const SOCKETS: Record<string, string> = { ws: 'http', wss: 'https' }

/** A host name that the URL parser takes and no page has: an empty label, or an escaped wildcard. */
const UNUSABLE = /^\.|\.\.|\*/

const never = (entry: string, why: string): Read => ({
  problem: `holds ${describe(entry)}, which never matches: ${why}`,
})

/**
 * Reads an entry of the option `origin`. Normalizes an http origin as browsers do (RFC 6454,
 * section 6.2; the URL standard): lower case, punycode, IPv6, without a default port. Any other
 * scheme only becomes lower case.
 */
export function readOrigin(entry: string): Read {
  if (entry === 'null') return { value: entry }
  if (entry.includes('*')) {
    return never(
      entry,
      String.raw`wildcards are not supported. Use a RegExp, such as /^https:\/\/[a-z0-9-]+\.example\.com$/.`,
    )
  }
  const [, scheme, host] = ORIGIN.exec(entry) ?? []
  if (scheme === undefined) return { problem: noOrigin(entry) }
  const name = scheme.toLowerCase()
  const page = SOCKETS[name]
  if (page)
    return never(
      entry,
      `the origin of a page does not begin with ${name}:. Write "${page}://${host}".`,
    )
  if (name !== 'http' && name !== 'https') {
    // file://, capacitor://localhost, chrome-extension://…
    return host === '' && name !== 'file'
      ? { problem: noOrigin(entry) }
      : { value: entry.toLowerCase() }
  }
  try {
    const { origin, hostname } = new URL(entry)
    return UNUSABLE.test(hostname) ? { problem: noOrigin(entry) } : { value: origin }
  } catch {
    return { problem: noOrigin(entry) }
  }
}

function noOrigin(entry: string): string {
  return `holds ${describe(entry)}, which is not an origin: write it as a browser sends it, such as "https://example.com".`
}

/** Reads an entry of `hosts`: a host and an optional port, normalized as browsers do. */
export function readHost(entry: string): Read {
  if (entry.endsWith(':*')) {
    return never(entry, 'leave the port out: a name without a port allows every port.')
  }
  if (entry.includes('*')) return never(entry, 'wildcards are not supported. List each name.')
  if (entry.includes('/')) {
    return {
      problem: `holds ${describe(entry)}, which is not a host name: leave out the scheme and the path, as in "example.com".`,
    }
  }
  const name = isIPv6(entry) ? `[${entry}]` : entry
  const [, port] = /:(\d{1,5})$/.exec(name) ?? []
  try {
    if (/[\s?#@\\]/.test(name)) throw new TypeError(name)
    // The URL parser normalizes the host only for schemes with a default port, such as http.
    const { hostname } = new URL(`http://${name}`)
    if (UNUSABLE.test(hostname)) throw new TypeError(name)
    return { value: port === undefined ? hostname : `${hostname}:${Number(port)}` }
  } catch {
    return {
      problem: `holds ${describe(entry)}, which is not a host name: write "example.com" or "example.com:8080".`,
    }
  }
}

/** Returns the problem of a list in the option `origin`, or null. */
export const originsCheck: Check = (value) => {
  if (!Array.isArray(value)) {
    return `must be "same", "any", a list of origins, or a function, not ${describe(value)}.`
  }
  for (const entry of value) {
    if (entry instanceof RegExp) {
      if (!/^\^.*\$$/s.test(entry.source)) {
        return `holds ${entry}, which also matches inside longer origins: begin it with ^ and end it with $.`
      }
      continue
    }
    if (typeof entry !== 'string') return noOrigin(entry as string)
    const read = readOrigin(entry)
    if ('problem' in read) return read.problem
  }
  return null
}

/** Returns the problem of the option `hosts`, or null. */
export const hostsCheck: Check = (value) => {
  const wrong = check.strings(value)
  if (wrong) return wrong
  for (const entry of value as string[]) {
    const read = readHost(entry)
    if ('problem' in read) return read.problem
  }
  return null
}

/** Returns the entries in the form that browsers send. */
export function normalizedOrigins(entries: readonly (string | RegExp)[]): (string | RegExp)[] {
  return entries.map((entry) => (typeof entry === 'string' ? normalized(readOrigin(entry)) : entry))
}

export function normalizedHosts(entries: readonly string[]): Set<string> {
  return new Set(entries.map((entry) => normalized(readHost(entry))))
}

function normalized(read: Read): string {
  return 'value' in read ? read.value : ''
}
