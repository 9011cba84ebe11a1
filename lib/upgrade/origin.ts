import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { loggable } from '../debug.ts'
import { askOption } from '../validate.ts'
import { countHeader, type Refusal } from './handshake.ts'

/** Decides about an origin; called with the Origin header as it was sent. */
export type OriginPredicate = (origin: string, req: IncomingMessage) => boolean

/** Which pages may open a WebSocket. */
export type OriginPolicy = 'same' | 'any' | readonly (string | RegExp)[] | OriginPredicate

/** What decides about the page and the host of a handshake. */
export interface OriginRules {
  readonly origin: OriginPolicy
  /** Host names that Host may have, in lower case; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
}

const ORIGIN = /^(https?):\/\/(\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::(\d{1,5}))?$/i
const HOST = /^(\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::(\d{1,5}))?$/i
const DEFAULT_PORT: Record<string, string> = { http: '80', https: '443' }

/**
 * Why this page may not open a WebSocket here, or null. A browser always sends Origin and lets no
 * page forge it; it does send cookies with a handshake from any page, and no CORS check follows
 * (RFC 6455, section 10.2). So a foreign Origin is refused unless it is allowed by name.
 *
 * The host is taken from the header alone, over HTTP/2 from `:authority`, and never from the request target.
 */
export function checkOrigin(
  rules: OriginRules,
  req: IncomingMessage,
  proxy: boolean,
): Refusal | null {
  const host = requestHost(req, proxy)
  if (rules.hosts && !hostAllowed(rules.hosts, host)) {
    return refuse(`Host ${loggable(host)} is not one of the option "hosts" of koaWs().`)
  }
  const { origin } = req.headers
  if (origin === undefined) return null
  if (countHeader(req, 'origin') > 1) return refuse('More than one Origin header.')
  if (originAllowed(rules.origin, origin, host, req)) return null
  return refuse(
    `Origin ${loggable(origin)} is not allowed for host ${loggable(host)}: see the option "origin" of koaWs().`,
  )
}

/** The host that the client meant: what a proxy forwards counts only if the app trusts it. */
function requestHost(req: IncomingMessage, proxy: boolean): string {
  const forwarded = proxy ? req.headers['x-forwarded-host'] : undefined
  if (typeof forwarded === 'string') return (forwarded.split(',', 1)[0] as string).trim()
  return (req.headers[':authority'] as string | undefined) ?? req.headers.host ?? ''
}

function originAllowed(
  policy: OriginPolicy,
  origin: string,
  host: string,
  req: IncomingMessage,
): boolean {
  if (policy === 'any') return true
  if (typeof policy === 'function') return askOption('origin', () => policy(origin, req)) === true
  if (sameOrigin(origin, host, (req.socket as TLSSocket).encrypted === true)) return true
  return policy !== 'same' && policy.some((entry) => matches(entry, origin))
}

function matches(entry: string | RegExp, origin: string): boolean {
  if (typeof entry === 'string') return entry.toLowerCase() === origin.toLowerCase()
  return wholly(entry).test(origin)
}

const whole = new WeakMap<RegExp, RegExp>()

/** The same expression for the whole of a text: `^a|b$` alone would match in the middle of one. */
function wholly(entry: RegExp): RegExp {
  let made = whole.get(entry)
  if (!made) {
    made = new RegExp(`^(?:${entry.source})$`, entry.flags.replace(/[gym]/g, ''))
    whole.set(entry, made)
  }
  return made
}

/** Whether host and port of an Origin are those of Host, where a default port may be left out. */
function sameOrigin(origin: string, host: string, encrypted: boolean): boolean {
  const page = ORIGIN.exec(origin)
  const here = HOST.exec(host)
  if (!page || !here) return false
  if ((page[2] as string).toLowerCase() !== (here[1] as string).toLowerCase()) return false
  const scheme = (page[1] as string).toLowerCase()
  const pagePort = page[3] ?? DEFAULT_PORT[scheme]
  if (here[2] !== undefined) return here[2] === pagePort
  // No port in Host: the default of a scheme. On a plain socket a proxy may have ended TLS.
  if (encrypted) return pagePort === '443'
  return pagePort === DEFAULT_PORT[scheme]
}

function hostAllowed(hosts: ReadonlySet<string>, host: string): boolean {
  const parts = HOST.exec(host)
  if (!parts) return false
  return hosts.has((parts[1] as string).toLowerCase()) || hosts.has(host.toLowerCase())
}

function refuse(message: string): Refusal {
  return { code: 'ERR_KOAWS_ORIGIN', status: 403, message }
}
