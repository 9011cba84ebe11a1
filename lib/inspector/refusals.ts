// Keeps the latest refused upgrades, and says how each is fixed.

import { type ErrorCode, errorTable, type UpgradeEvent } from '../index.ts'
import { cut } from './reading.ts'
import { Latest } from './ring.ts'
import type { Timeline, Timelines } from './timeline.ts'

/** A refused upgrade. */
export interface Refused {
  /** In epoch milliseconds. */
  readonly at: number
  /** 0 when the client left, or the upgrade was not answered. */
  readonly status: number
  readonly code: string | null
  readonly reason: string | null
  readonly path: string
  readonly origin: string | null
  readonly ip: string
  readonly userAgent: string | null
  /** In milliseconds. */
  readonly duration: number
  /** What to change. */
  readonly fix: string
  /** The chain, if it ran. */
  readonly timeline: Timeline | null
}

const MOST = 200

/** Sentences for codes where the table of errors says when it happens, but not what to change. */
const FIXES: Partial<Record<ErrorCode, string>> = {
  ERR_KOAWS_ORIGIN:
    'The page may connect only if its Origin equals the Host of the request. Behind a proxy, keep the header: proxy_set_header Host $http_host; or set X-Forwarded-Host and app.proxy = true. For pages on another domain use the option "origin".',
  ERR_KOAWS_BAD_HANDSHAKE:
    'Connect with a WebSocket client. If it is one, a proxy has changed the handshake: pass on Upgrade, Connection and the Sec-WebSocket headers with HTTP/1.1.',
  ERR_KOAWS_VERSION: 'The client speaks an old draft. Use a client of RFC 6455 (version 13).',
  ERR_KOAWS_NOT_AN_UPGRADE:
    'The request is not an upgrade. nginx needs proxy_http_version 1.1; and Connection "upgrade"; health checks need another path.',
  ERR_KOAWS_NOT_INSTALLED: 'Register app.use(koaWs()) before the route.',
  ERR_KOAWS_TOO_MANY:
    'Raise maxConnections, maxPerAddress or maxPerSession, or add instances. If all addresses are equal, a proxy hides them: set app.proxy = true behind it.',
  ERR_KOAWS_SUBPROTOCOL:
    'Client and route must share a subprotocol: check what the client offers, and the option "subprotocol" or messages() of the route.',
  ERR_KOAWS_EXPIRED: 'The token has expired: the client has to fetch a new one before it connects.',
  ERR_KOAWS_BEARER:
    'The token among the subprotocols is malformed: send koaws.bearer.<token> once.',
  ERR_KOAWS_DEADLINE:
    'The middleware took longer than handshakeTimeout. The timeline shows which: answer sooner, or raise the option.',
  ERR_KOAWS_DRAINING:
    'The instance shuts down. Clients come back after Retry-After; a balancer should ask status().ready.',
}

const BY_STATUS: Readonly<Record<number, string>> = {
  0: 'The client left before the answer. If this is frequent, the chain is slow, or a proxy gives up first.',
  200: 'Something before the WebSocket route answered this GET, such as koa-static with an index.html. Register the route first.',
  301: 'Browsers follow no redirect of a WebSocket. Connect to the final address, with wss: where the site redirects to HTTPS.',
  302: 'Browsers follow no redirect of a WebSocket. Often this is a redirect to the login: answer upgrades with 401.',
  400: 'Middleware answered 400. The timeline shows which.',
  401: 'The authentication refused it. Browsers send cookies but no Authorization header: use a cookie, or bearer() with a token among the subprotocols.',
  403: 'Middleware answered 403: the timeline shows which. It is not the origin check, which has the code ERR_KOAWS_ORIGIN.',
  404: 'No route accepted it. Compare the path with those of the routes, and check that accept() or ctx.ws() runs for it.',
  429: 'A rate limiter in the chain refused it. Behind a proxy all clients may share its address: set app.proxy = true.',
  500: 'Middleware threw an error: see the log of app.on("error"). The timeline shows which.',
  503: 'Middleware, or a proxy behind it, was not available.',
}

const OTHERWISE =
  'The application answered with this status. The timeline shows which middleware did.'

/** Returns the sentence that says what to change. */
export function fixOf(status: number, code: string | undefined): string {
  if (isCode(code)) return FIXES[code] ?? errorTable[code].meaning
  return BY_STATUS[status] ?? OTHERWISE
}

function isCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(errorTable, code)
}

/** Whether an upgrade was accepted: with 200 over HTTP/2. */
function isAccepted({ status, code, reason, request }: UpgradeEvent): boolean {
  if (status === 101) return true
  const isHttp2 = Reflect.get(Object(request), 'httpVersionMajor') >= 2
  return isHttp2 && status === 200 && code === undefined && reason === undefined
}

/** The latest refused upgrades of one hub. */
export class Refusals {
  readonly #timelines: Timelines
  readonly #latest = new Latest<Refused>(MOST)

  constructor(timelines: Timelines) {
    this.#timelines = timelines
  }

  /** Newest first. */
  get all(): Refused[] {
    return this.#latest.all.toReversed()
  }

  decided(event: UpgradeEvent): void {
    if (isAccepted(event)) return
    const { status, code, reason, path, origin, ip, userAgent, duration, request } = event
    this.#latest.add({
      at: Date.now(),
      status,
      code: code ?? null,
      reason: reason === undefined ? null : cut(reason),
      path,
      origin: origin ?? null,
      ip,
      userAgent: userAgent ?? null,
      duration: Math.round(duration),
      fix: fixOf(status, code),
      timeline: this.#timelines.of(request) ?? null,
    })
  }
}
