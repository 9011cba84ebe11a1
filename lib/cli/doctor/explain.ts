// Turns a handshake that failed into findings, by what the server said.
import { errorTable } from '../../index.ts'
import type { Target } from '../target.ts'
import { printable } from '../terminal.ts'
import { type Finding, type FindingId, finding } from './findings.ts'
import type { HttpAnswer, NoAnswer } from './http-answer.ts'
import type { Outcome, Rejected } from './probe.ts'

/** More handshakes, which tell the causes of a rejection apart. */
export interface Comparison {
  /** Without `Origin`. */
  readonly withoutOrigin: Outcome | null
  /** The same request without an upgrade. */
  readonly plain: HttpAnswer | null
  /** Whether a handshake of a wrong version, which WebSocket servers reject, got the same 404. */
  readonly unnoticed: boolean
  /** The subprotocols that were offered. */
  readonly offered: readonly string[]
}

/** A text of koaws, the code that it belongs to, and the finding. */
interface Known {
  readonly pattern: RegExp
  readonly code: string | null
  readonly id: FindingId
  text(match: RegExpExecArray): string
}

const said =
  (text: string): (() => string) =>
  () =>
    text

/** The rejections of koaws and of ws, by their text. */
const KNOWN: readonly Known[] = [
  {
    pattern: /^Host .* is not allowed/,
    code: 'ERR_KOAWS_ORIGIN',
    id: 'host-not-allowed',
    text: said('The server does not allow the host of this address.'),
  },
  {
    pattern: /Sec-WebSocket-Version must be 13|Missing or invalid Sec-WebSocket-Version/,
    code: 'ERR_KOAWS_VERSION',
    id: 'websocket-headers-dropped',
    text: said('The server did not get Sec-WebSocket-Version: 13, which the doctor sent.'),
  },
  {
    pattern: /Sec-WebSocket-Key is missing|Missing or invalid Sec-WebSocket-Key/,
    code: 'ERR_KOAWS_BAD_HANDSHAKE',
    id: 'websocket-headers-dropped',
    text: said('The server did not get Sec-WebSocket-Key, which the doctor sent.'),
  },
  {
    pattern: /needs HTTP\/1\.1, not HTTP\/(\d\.\d)/,
    code: 'ERR_KOAWS_BAD_HANDSHAKE',
    id: 'http-1-0',
    text: ([, version]) => `The proxy spoke HTTP/${version} to the server, which has no upgrades.`,
  },
  {
    pattern: /This is a WebSocket endpoint: send an upgrade request/,
    code: 'ERR_KOAWS_NOT_AN_UPGRADE',
    id: 'upgrade-dropped',
    text: said(
      'The request reached koaws without an upgrade: something in between dropped Upgrade or Connection.',
    ),
  },
  {
    pattern: /does not speak|Offer a subprotocol beside the credential/,
    code: 'ERR_KOAWS_SUBPROTOCOL',
    id: 'subprotocol-rejected',
    text: said('The route does not speak the offered subprotocols.'),
  },
  {
    pattern: /server is shutting down|WebSocketServer is closed/,
    code: 'ERR_KOAWS_DRAINING',
    id: 'draining',
    text: said('The instance is shutting down.'),
  },
]

/** Returns the findings of a handshake that did not open; `shown` makes remote text printable. */
export function explain(
  target: Target,
  outcome: Exclude<Outcome, { kind: 'accepted' }>,
  comparison: Comparison,
): Finding[] {
  if (outcome.kind === 'unreachable') return [outcome.fault]
  if (outcome.kind === 'unanswered') return [unanswered(target, outcome.why)]
  if (outcome.kind === 'invalid') return [finding('handshake-invalid', outcome.problem)]
  if (outcome.kind === 'rejected') return [rejection(target, outcome, comparison)]
  const { code, reason, problem } = outcome
  if (problem !== null)
    return [finding('frames-invalid', `The server sent wrong bytes: ${problem}.`)]
  const why = reason === '' ? '' : `, ${JSON.stringify(shownText(target, reason))}`
  const text =
    code === 1006
      ? 'The server answered 101, and the connection was cut at once without a close frame.'
      : `The server answered 101, and closed at once with ${code}${why}.`
  return [finding('closed-at-once', text)]
}

/** Returns the error code of koaws that an answer has or means, or null. */
export function koawsCode({ answer, text }: Rejected): string | null {
  for (const place of [text, ...answer.headers.values()]) {
    const [code] = /\bERR_KOAWS_[A-Z0-9_]{2,40}\b/.exec(place) ?? []
    if (code !== undefined && Object.hasOwn(errorTable, code)) return code
  }
  if (/^Origin .* is not allowed for host/.test(text)) return 'ERR_KOAWS_ORIGIN'
  if (/^This route speaks /.test(text)) return 'ERR_KOAWS_SUBPROTOCOL'
  return KNOWN.find(({ pattern }) => pattern.test(text))?.code ?? null
}

/** Returns text of the server in one line, without markup and without credentials. */
export function shownText({ secrets }: Target, text: string, most = 160): string {
  const bare = secrets
    .redact(text)
    .replace(/<(script|style)\b[\s\S]*?(?:<\/\1>|$)/gi, ' ')
    .replace(/<!--[\s\S]*?(?:-->|$)/g, ' ')
    .replace(/<\/?[a-z!][^>]*>/gi, ' ')
  return printable(secrets.redact(printable(bare, 4_096)), most)
}

function unanswered({ secure }: Target, why: NoAnswer): Finding {
  if (why === 'silent')
    return finding('no-answer', 'The server took the request and sent no answer.')
  if (why === 'cut')
    return finding(
      'cut-before-answer',
      secure
        ? 'The server ended the connection without an answer.'
        : 'The server ended the connection without an answer. The port may expect TLS: try wss://.',
    )
  if (why === 'endless')
    return finding('not-http', 'The server sends headers without an end (more than 64 KiB).')
  return finding('not-http', 'The server answered with bytes that are not HTTP/1.')
}

function rejection(target: Target, outcome: Rejected, comparison: Comparison): Finding {
  const { status, text, answer } = outcome
  // A close reason may end within the host: then the cause is not certain.
  const [, host] = /^Origin .* is not allowed for host "([^"]*)"/.exec(text) ?? []
  if (host !== undefined && host.toLowerCase() !== target.authority.toLowerCase())
    return finding(
      'host-rewritten',
      `The server saw the host ${JSON.stringify(shownText(target, host))} instead of ${JSON.stringify(target.authority)}, so every page has a foreign origin: a proxy replaced the header Host.`,
    )
  const speaks = /^This route speaks ([^\s].*?)\.$/.exec(text)?.[1]
  if (speaks !== undefined) return subprotocolFinding(target, speaks, comparison.offered)
  for (const { pattern, id, text: describe } of KNOWN) {
    const match = pattern.exec(text)
    if (match) return finding(id, describe(match))
  }
  if (status >= 300 && status < 400) return redirect(target, status, answer)
  if (/^Origin .* is not allowed/.test(text) || isAllowedWithoutOrigin(outcome, comparison))
    return finding(
      'origin-rejected',
      `The server rejects the page ${target.origin} with ${status}, and accepts the same handshake without Origin or from another page.`,
    )
  return byStatus(target, outcome, comparison)
}

function isAllowedWithoutOrigin({ status }: Rejected, { withoutOrigin }: Comparison): boolean {
  return status >= 400 && withoutOrigin?.kind === 'accepted'
}

function subprotocolFinding(target: Target, speaks: string, offered: readonly string[]): Finding {
  const wanted = speaks.split(', ')
  const shown = shownText(target, speaks)
  if (offered.some((name) => wanted.includes(name)))
    return finding(
      'subprotocol-dropped',
      `The route speaks ${shown}. The doctor offered it, and the server did not get it: a proxy dropped Sec-WebSocket-Protocol.`,
    )
  return finding(
    'subprotocol-rejected',
    `The route speaks only ${shown}.`,
    `Offer it: new WebSocket(url, '${shown}'), and --protocol ${shown} here.`,
  )
}

function redirect(target: Target, status: number, { headers }: HttpAnswer): Finding {
  const location = headers.get('location') ?? ''
  const base = `${target.secure ? 'https' : 'http'}://${target.authority}${target.path}`
  const url = URL.canParse(location, base) ? new URL(location, base) : null
  const place = url
    ? shownText(target, `${url.protocol}//${url.host}${url.pathname}`)
    : 'no address'
  const toTls =
    !target.secure && /^(?:https|wss):$/.test(url?.protocol ?? '') && url?.hostname === target.host
  return finding(
    toTls ? 'redirect-to-tls' : 'redirected',
    `The answer is a redirect (${status}) to ${place}.`,
  )
}

function byStatus(target: Target, outcome: Rejected, { plain, unnoticed }: Comparison): Finding {
  const { status, answer, text } = outcome
  const proxy = proxyOf(target, answer, text)
  const by = proxyText(proxy)
  if (status >= 200 && status < 300)
    return finding('answered-200', `The answer is ${status}${by} with a body, not 101.`)
  if (
    status === 426 ||
    (status === 400 && plain?.status === 400 && plain.body === text && text !== '')
  )
    return finding(
      'upgrade-dropped',
      `The server answered ${status}, as it does to a plain request: something in between dropped Upgrade or Connection.`,
    )
  if (status === 401 || status === 407)
    return finding('unauthorized', `The server wants a login: ${status}${by}.`)
  if (status === 403) return finding('forbidden', `The server rejects this client: 403${by}.`)
  if (unnoticed && proxy?.wrote !== true)
    return finding(
      'upgrade-dropped',
      `The server answered ${status} without noticing the upgrade: something in between dropped Upgrade or Connection, or this path belongs to a server without WebSockets.`,
    )
  if (status === 404 || status === 410)
    return finding('not-found', `There is nothing on this path: ${status}${by}.`)
  if (status === 429 || /\btoo many\b/i.test(text))
    return finding('too-many', `A limit is reached: ${status}.`)
  if (status === 502 || status === 504 || status === 503)
    return finding('backend-unreachable', `${BACKEND[status]}: ${status}${by}.`)
  if (status >= 500) return finding('server-error', `The server failed: ${status}${by}.`)
  if (status === 400) return finding('bad-request', `The server rejects the request: 400${by}.`)
  return finding('rejected', `The answer is ${status}${by}, not 101.`)
}

const BACKEND: Readonly<Record<number, string>> = {
  502: 'The proxy got no usable answer from the app',
  503: 'The proxy has no app that is up, or the app is overloaded',
  504: 'The proxy waited for the app in vain',
}

/** A proxy in front of the server. */
export interface Proxy {
  readonly name: string
  /** Whether it wrote the answer itself. */
  readonly wrote: boolean
}

const SERVERS =
  /^(?:nginx|haproxy|caddy|envoy|istio-envoy|cloudflare|apache|traefik|openresty|awselb|varnish|microsoft-iis|cloudfront)\b[\w./ -]*/i
/** The error pages of HAProxy, which names itself in no header, and of nginx. */
const HAPROXY_PAGE = /^<html><body><h1>\d{3} [\w ]+<\/h1>/
const NGINX_PAGE = /<hr><center>(?:nginx|openresty)/

/** Returns the proxy of an answer, as far as it can be told; null otherwise. */
export function proxyOf(
  { secrets }: Target,
  { headers, status }: HttpAnswer,
  body: string,
): Proxy | null {
  if (HAPROXY_PAGE.test(body)) return { name: 'HAProxy', wrote: true }
  const [name] = SERVERS.exec(printable(headers.get('server') ?? '', 40)) ?? []
  if (name === undefined) return null
  return {
    name: secrets.redact(name.trim()),
    wrote: NGINX_PAGE.test(body) || status === 502 || status === 504,
  }
}

/** Returns the proxy for the middle of a sentence. */
export function proxyText(proxy: Proxy | null): string {
  if (proxy === null) return ''
  return proxy.wrote ? ` by ${proxy.name}` : ` through ${proxy.name}`
}
