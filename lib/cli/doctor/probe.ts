// One handshake with a server, as a browser sends it, and its outcome.
import { createHash, randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Target } from '../target.ts'
import { type Dialed, dialTrusted, type Fault } from './dial.ts'
import { type HttpAnswer, type NoAnswer, readAnswer } from './http-answer.ts'
import type { Sockets } from './sockets.ts'
import { Wire } from './wire.ts'

/** What one handshake differs in. */
export interface Variant {
  /** The value of the header `Origin`; null sends none. */
  readonly origin: string | null
  readonly protocols: readonly string[]
  /** @default 13, the only one */
  readonly version?: string
}

/** The result of a handshake. */
export type Outcome = Accepted | Rejected | Invalid | Ended | Unanswered | Unreachable

/** The server accepted, and answered a ping or kept the connection open. */
export interface Accepted {
  readonly kind: 'accepted'
  readonly answer: HttpAnswer
  readonly dialed: Dialed
  readonly wire: Wire
  /** Milliseconds from the request to the 101. */
  readonly ms: number
}

/** The server rejected, by a status or by a close code above 4000. */
export interface Rejected {
  readonly kind: 'rejected'
  readonly status: number
  /** Body or close reason: text from the server. */
  readonly text: string
  readonly answer: HttpAnswer
  /** Null for a status. */
  readonly closeCode: number | null
}

/** The server answered 101 with wrong headers. */
export interface Invalid {
  readonly kind: 'invalid'
  readonly problem: string
  readonly answer: HttpAnswer
}

/** The server accepted, and ended the connection at once. */
export interface Ended {
  readonly kind: 'ended'
  readonly answer: HttpAnswer
  readonly code: number
  readonly reason: string
  readonly problem: string | null
}

/** The server sent no HTTP answer. */
export interface Unanswered {
  readonly kind: 'unanswered'
  readonly why: NoAnswer
}

/** There was no connection. */
export interface Unreachable extends Fault {
  readonly kind: 'unreachable'
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** Milliseconds in which a rejection by close code follows the 101. */
const SETTLING = 1_500

/** Opens a WebSocket. */
export async function probe(target: Target, sockets: Sockets, variant: Variant): Promise<Outcome> {
  const dialed = await dialTrusted(target, sockets)
  if ('fault' in dialed) return { kind: 'unreachable', ...dialed }
  const key = randomBytes(16).toString('base64')
  const started = performance.now()
  dialed.socket.write(requestOf(target, upgradeHeaders(target, variant, key)))
  const answer = await readAnswer(dialed.socket, sockets.patience)
  const ms = performance.now() - started
  if (typeof answer === 'string') {
    dialed.socket.destroy()
    return { kind: 'unanswered', why: answer }
  }
  if (answer.status !== 101) {
    dialed.socket.destroy()
    const { status, body } = answer
    return { kind: 'rejected', status, text: body, answer, closeCode: null }
  }
  const problem = problemWith(answer, key)
  if (problem !== null) {
    dialed.socket.destroy()
    return { kind: 'invalid', problem, answer }
  }
  const wire = new Wire(dialed.socket, answer.rest)
  await wire.ping(Math.min(SETTLING, sockets.patience))
  if (!wire.end) return { kind: 'accepted', answer, dialed, wire, ms }
  wire.destroy()
  const { code, reason } = wire.end
  // koaws rejects clients of koaws.v1 with 4000 + status: browsers hide the status.
  if (code >= 4_400 && code < 4_600)
    return { kind: 'rejected', status: code - 4_000, text: reason, answer, closeCode: code }
  return { kind: 'ended', answer, ...wire.end }
}

/** Sends the same request without an upgrade. */
export async function plainRequest(target: Target, sockets: Sockets): Promise<HttpAnswer | null> {
  const dialed = await dialTrusted(target, sockets)
  if ('fault' in dialed) return null
  dialed.socket.write(requestOf(target, [['Connection', 'close']]))
  const answer = await readAnswer(dialed.socket, sockets.patience)
  dialed.socket.destroy()
  return typeof answer === 'string' ? null : answer
}

function upgradeHeaders(
  { bearers }: Target,
  { origin, protocols, version = '13' }: Variant,
  key: string,
): [string, string][] {
  const headers: [string, string][] = [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Version', version],
    ['Sec-WebSocket-Key', key],
    ['Sec-WebSocket-Extensions', 'permessage-deflate; client_max_window_bits'],
  ]
  if (origin !== null) headers.push(['Origin', origin])
  const offered = [...protocols, ...bearers]
  if (offered.length > 0) headers.push(['Sec-WebSocket-Protocol', offered.join(', ')])
  return headers
}

function requestOf(target: Target, own: readonly (readonly [string, string])[]): Buffer {
  const agent = target.headers.some(([name]) => /^user-agent$/i.test(name))
    ? []
    : [['User-Agent', 'koaws-doctor']]
  const headers = [['Host', target.authority], ...agent, ...own, ...target.headers]
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.from(`GET ${target.path} HTTP/1.1\r\n${lines}\r\n`, 'latin1')
}

/** Returns the problem with a 101, or null (RFC 6455, section 4.1). */
function problemWith({ version, headers }: HttpAnswer, key: string): string | null {
  if (version !== '1.1') return `The 101 is HTTP/${version}, not HTTP/1.1.`
  for (const [name, wanted] of [
    ['upgrade', 'websocket'],
    ['connection', 'upgrade'],
  ] as const) {
    const value = headers.get(name)
    if (value === undefined)
      return `The 101 has no header ${name === 'upgrade' ? 'Upgrade' : 'Connection'}.`
    if (
      !value
        .toLowerCase()
        .split(/\s*,\s*/)
        .includes(wanted)
    )
      return `The header ${name === 'upgrade' ? 'Upgrade' : 'Connection'} of the 101 does not say ${wanted}.`
  }
  const accept = headers.get('sec-websocket-accept')
  if (accept === undefined) return 'The 101 has no header Sec-WebSocket-Accept.'
  if (
    accept !==
    createHash('sha1')
      .update(key + GUID)
      .digest('base64')
  )
    return 'Sec-WebSocket-Accept of the 101 does not belong to the key: something in between changes Sec-WebSocket-Key, or answers with the handshake of another connection.'
  return null
}
