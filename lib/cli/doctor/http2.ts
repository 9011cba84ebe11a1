// Checks whether a host offers HTTP/2, and WebSockets over it (RFC 8441).
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { headerObject, type Target } from '../target.ts'
import { dialTrusted } from './dial.ts'
import { type Finding, finding } from './findings.ts'
import type { Sockets } from './sockets.ts'

/** What a host offers over HTTP/2. */
export interface Http2Facts {
  /** Whether ALPN chose h2 when both were offered. */
  readonly offered: boolean
  /** Whether the server enables extended CONNECT (RFC 8441). */
  readonly connectProtocol: boolean
  /** The status of a WebSocket over HTTP/2; null when none was tried or answered. */
  readonly status: number | null
}

/** Headers that HTTP/2 does not have (RFC 9113, section 8.2.2). */
const HOP_BY_HOP = /^(?:keep-alive|proxy-connection|te|http2-settings)$/i

const NOT_OFFERED: Http2Facts = { offered: false, connectProtocol: false, status: null }

/** Asks over TLS with ALPN; `protocols` is the offer that HTTP/1.1 accepted. */
export async function askHttp2(
  target: Target,
  sockets: Sockets,
  protocols: readonly string[],
): Promise<Http2Facts> {
  const dialed = await dialTrusted(target, sockets, ['h2', 'http/1.1'])
  if ('fault' in dialed) return NOT_OFFERED
  if (dialed.tls?.alpn !== 'h2') {
    dialed.socket.destroy()
    return NOT_OFFERED
  }
  const session = connect(`https://${target.authority}`, {
    createConnection: () => dialed.socket,
    maxSessionMemory: 2,
  })
  session.on('error', () => {})
  try {
    const connectProtocol = await enabled(session, sockets.patience)
    const status = connectProtocol
      ? await connectStatus(session, target, protocols, sockets.patience)
      : null
    return { offered: true, connectProtocol, status }
  } finally {
    session.destroy()
    dialed.socket.destroy()
  }
}

/** Returns the finding of a host that enables RFC 8441 and fails it. */
export function http2Finding({ connectProtocol, status }: Http2Facts): Finding | null {
  if (!connectProtocol || status === 200) return null
  const answer = status === null ? 'no answer' : `status ${status}`
  return finding(
    'h2-websocket-failed',
    `The host enables WebSockets over HTTP/2 (RFC 8441), and the handshake got ${answer}, while HTTP/1.1 works.`,
  )
}

function enabled(session: ClientHttp2Session, patience: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, patience, false)
    const settle = (value: boolean): void => {
      clearTimeout(timer)
      resolve(value)
    }
    session.once('remoteSettings', ({ enableConnectProtocol }) => settle(!!enableConnectProtocol))
    session.once('close', () => settle(false))
  })
}

function connectStatus(
  session: ClientHttp2Session,
  target: Target,
  protocols: readonly string[],
  patience: number,
): Promise<number | null> {
  return new Promise((resolve) => {
    const offered = [...protocols, ...target.bearers]
    const own = headerObject(target.headers.filter(([name]) => !HOP_BY_HOP.test(name)))
    if (session.closed || session.destroyed) {
      resolve(null)
      return
    }
    const stream = request(session, {
      ...own,
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':authority': target.authority,
      ':path': target.path,
      'sec-websocket-version': '13',
      origin: target.origin,
      ...(offered.length > 0 ? { 'sec-websocket-protocol': offered.join(', ') } : {}),
    })
    if (!stream) {
      resolve(null)
      return
    }
    const settle = (status: number | null): void => {
      clearTimeout(timer)
      resolve(status)
      stream.destroy()
    }
    const timer = setTimeout(settle, patience, null)
    stream.on('error', () => settle(null))
    stream.on('close', () => settle(null))
    stream.on('response', (headers) => settle(headers[':status'] ?? null))
  })
}

/** Opens a stream; null when Node rejects a header of the command line over HTTP/2. */
function request(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
): ClientHttp2Stream | null {
  try {
    return session.request(headers)
  } catch {
    return null
  }
}
