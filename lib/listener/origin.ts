// The options `origin` and `hosts`: which pages may open a WebSocket.
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { loggable } from '../debug.ts'
import { countHeader, type Refusal } from '../upgrade/handshake.ts'
import { askOnce } from './asked.ts'

/** Decides whether an origin is allowed. Receives the Origin header as it was sent. */
export type OriginPredicate = (origin: string, req: IncomingMessage) => boolean

/** The pages that may open a WebSocket. */
export type OriginPolicy = 'same' | 'any' | readonly (string | RegExp)[] | OriginPredicate

/** The rules for the origin and the host of a handshake. */
export interface OriginRules {
  readonly origin: OriginPolicy
  /** The allowed values of the Host header, in lower case; undefined allows any. */
  readonly hosts: ReadonlySet<string> | undefined
}

const ORIGIN = /^(https?):\/\/(\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::(\d{1,5}))?$/i
const HOST = /^(\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::(\d{1,5}))?$/i
const DEFAULT_PORT: Record<string, string> = { http: '80', https: '443' }
/** The values that proxies write into X-Forwarded-Proto; some use the scheme of the WebSocket. */
const FORWARDED: Record<string, string> = { http: 'http', https: 'https', ws: 'http', wss: 'https' }

/**
 * Returns the refusal of a page that may not open a WebSocket here, or null. A browser always sends
 * Origin, and a page cannot forge it. But it sends cookies with a handshake from any page, and CORS
 * does not apply (RFC 6455, section 10.2). So a foreign Origin is refused unless it is allowed
 * explicitly.
 *
 * The host comes from the Host header, over HTTP/2 from `:authority`, and never from the request
 * target.
 */
export function checkOrigin(
  rules: OriginRules,
  req: IncomingMessage,
  proxy: boolean,
): Refusal | null {
  const host = requestHost(req, proxy)
  const scheme = requestScheme(req, proxy)
  if (rules.hosts && !hostAllowed(rules.hosts, host, scheme)) {
    return refuse(`Host ${loggable(host)} is not allowed: see the option "hosts" of koaWs().`)
  }
  const { origin } = req.headers
  if (origin === undefined) return null
  if (countHeader(req, 'origin') > 1) return refuse('More than one Origin header.')
  if (originAllowed(rules.origin, origin, host, scheme, req)) return null
  return refuse(
    `Origin ${loggable(origin)} is not allowed for host ${loggable(host)}: see the option "origin" of koaWs().`,
  )
}

/** Returns the first entry of a header that each proxy adds to. */
function firstOf(header: string): string {
  const [first = ''] = header.split(',', 1)
  return first.trim()
}

/** Returns the host that the client addressed; the forwarded one for a trusted proxy. */
function requestHost(req: IncomingMessage, proxy: boolean): string {
  const forwarded = proxy ? req.headers['x-forwarded-host'] : undefined
  if (typeof forwarded === 'string') return firstOf(forwarded)
  return (req.headers[':authority'] as string | undefined) ?? req.headers.host ?? ''
}

/** Returns the scheme that the page must have; null when TLS may have ended at a proxy. */
function requestScheme(req: IncomingMessage, proxy: boolean): string | null {
  const forwarded = proxy ? req.headers['x-forwarded-proto'] : undefined
  if (typeof forwarded === 'string') {
    const first = firstOf(forwarded).toLowerCase()
    const known = FORWARDED[first]
    if (known) return known
  }
  return (req.socket as TLSSocket).encrypted === true ? 'https' : null
}

function originAllowed(
  policy: OriginPolicy,
  origin: string,
  host: string,
  scheme: string | null,
  req: IncomingMessage,
): boolean {
  if (policy === 'any') return true
  if (typeof policy === 'function') {
    return askOnce('origin', policy, req, (arrived) => policy(origin, arrived)) === true
  }
  if (sameOrigin(origin, host, scheme)) return true
  return policy !== 'same' && policy.some((entry) => matches(entry, origin))
}

function matches(entry: string | RegExp, origin: string): boolean {
  if (typeof entry === 'string') return entry === origin.toLowerCase()
  return anchored(entry).test(origin)
}

const anchoredForms = new WeakMap<RegExp, RegExp>()

/** Returns the expression anchored at both ends: `^a|b$` would match inside a longer text. */
function anchored(entry: RegExp): RegExp {
  let made = anchoredForms.get(entry)
  if (!made) {
    made = new RegExp(`^(?:${entry.source})$`, entry.flags.replace(/[gym]/g, ''))
    anchoredForms.set(entry, made)
  }
  return made
}

/**
 * Returns whether scheme, host and port of an Origin are those of the request (RFC 6454, section
 * 5). A default port may be omitted, and an unknown scheme is not compared.
 */
function sameOrigin(origin: string, host: string, known: string | null): boolean {
  const page = ORIGIN.exec(origin)
  const here = HOST.exec(host)
  if (!page || !here) return false
  const [, pageScheme = '', pageHost = ''] = page
  const [, hostName = ''] = here
  if (pageHost.toLowerCase() !== hostName.toLowerCase()) return false
  const scheme = pageScheme.toLowerCase()
  const pagePort = page[3] ?? DEFAULT_PORT[scheme]
  if (known !== null && scheme !== known) return false
  return (here[2] ?? DEFAULT_PORT[scheme]) === pagePort
}

function hostAllowed(hosts: ReadonlySet<string>, host: string, scheme: string | null): boolean {
  const [, given, port] = HOST.exec(host) ?? []
  if (given === undefined) return false
  const name = given.toLowerCase()
  if (hosts.has(name)) return true
  if (port !== undefined) return hosts.has(`${name}:${Number(port)}`)
  // Clients omit the default port.
  const ports = scheme === null ? ['80', '443'] : [DEFAULT_PORT[scheme]]
  return ports.some((one) => hosts.has(`${name}:${one}`))
}

function refuse(message: string): Refusal {
  return { code: 'ERR_KOAWS_ORIGIN', status: 403, message }
}
