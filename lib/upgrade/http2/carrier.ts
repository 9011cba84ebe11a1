// Implements the carrier for HTTP/2: an extended CONNECT, answered with 200.

import {
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
  validateHeaderValue,
} from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { debugUpgrade, messageOf } from '../../debug.ts'
import { UpgradeError } from '../../errors.ts'
import { type Accepted, type Acceptor, clientGone } from '../acceptor.ts'
import type { Carried, Carrier } from '../carrier.ts'
import { carriedHeaders, finishStreamResponse } from '../finished-response.ts'
import type { Refusal } from '../handshake.ts'
import { linger } from '../refusal.ts'
import { letGo } from './compatibility.ts'
import { checkConnect } from './handshake.ts'
import { asTransport } from './transport.ts'

const EMPTY = Buffer.alloc(0)
const NO_LINES: readonly string[] = []
/** Headers that ws requires and RFC 8441 omits. */
const LEFT_OUT = {
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-key': 'a29hd3Mgb3ZlciBIVFRQLw==',
}

/** An extended CONNECT, accepted with 200. The WebSocket uses its stream. */
export const http2: Carrier = {
  acceptStatus: 200,

  accepts: (status) => status >= 200 && status < 300,

  // The answer for an ordinary GET would be read as frames.
  stray: {
    status: 405,
    text: 'There is no WebSocket here.',
    headers: { Allow: 'GET, HEAD' },
  },

  check: checkConnect,

  // The response emits `finish` only after the client has ended its side too.
  answerOf: ({ socket }) => socket,

  // Node would emit the events when the stream ends, which may be late, or with an error.
  answered: ({ res }) => finishStreamResponse(res, ignoreError),

  refuse: refuseStream,

  switch: respondAndSwitch,

  finish({ res }, onError) {
    finishStreamResponse(res, onError)
  },

  letGo: ({ req, res, socket }) => letGo(req, res, socket),
}

function ignoreError(error: unknown): void {
  debugUpgrade('a listener of the response threw: %s', messageOf(error))
}

function refuseStream(socket: Duplex, { status, message, headers }: Refusal): void {
  const stream = socket as ServerHttp2Stream
  if (stream.destroyed || stream.closed || stream.headersSent) {
    stream.destroy()
    return
  }
  stream.respond({
    ':status': status,
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(message),
    ...headers,
  })
  stream.end(message)
  linger(stream)
}

/**
 * Accepts with a 200. ws writes the head of a 101 to the stream and creates its WebSocket for it.
 * That one write is intercepted, and the negotiated headers go into the 200 with the headers of the
 * chain.
 */
function respondAndSwitch(
  { req, res, socket }: Carried,
  acceptor: Acceptor,
  subprotocol: string | false,
): Accepted {
  const stream = socket as ServerHttp2Stream
  if (stream.destroyed || stream.closed) throw clientGone()
  if (stream.headersSent) {
    throw new UpgradeError('ERR_KOAWS_RESPONDED', 'This stream has been answered already.')
  }
  const headers = acceptHeaders(res)
  asTransport(stream)
  const respond = (head: string): boolean => {
    Reflect.deleteProperty(stream, 'write')
    takeLines(head, headers, keyOf(req) === null ? NOT_CARRIED : NOT_CARRIED_WITH_KEY)
    stream.respond(headers, { sendDate: res.sendDate } as object)
    return true
  }
  Object.defineProperty(stream, 'write', { value: respond, configurable: true })
  try {
    return acceptor.accept(asUpgrade(req), stream, EMPTY, subprotocol, NO_LINES)
  } finally {
    Reflect.deleteProperty(stream, 'write')
  }
}

/** Returns the handshake in the form that ws expects. */
function asUpgrade(req: IncomingMessage): IncomingMessage {
  return Object.create(req, {
    method: { value: 'GET' },
    headers: { value: { ...req.headers, ...LEFT_OUT, ...keyOf(req) } },
  })
}

/**
 * Returns the key that the client sends, or null. RFC 8441, section 5, defines no key. But undici,
 * and with it Node 26 up to 26.10, sends one and requires the answer.
 */
function keyOf({ headers }: IncomingMessage): { 'sec-websocket-key': string } | null {
  const { 'sec-websocket-key': key } = headers
  return typeof key === 'string' && /^[+/0-9A-Za-z]{22}==$/.test(key)
    ? { 'sec-websocket-key': key }
    : null
}

/**
 * Returns the headers of the chain. Node accepts any value over HTTP/2; a value that would split a
 * line behind a proxy throws here.
 */
function acceptHeaders(res: ServerResponse): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { ':status': 200 }
  for (const [name, value] of carriedHeaders(res)) {
    for (const one of [value].flat()) validateHeaderValue(name, String(one))
    headers[name] = value
  }
  return headers
}

/** Headers of the 101 that must not be in an answer over HTTP/2 (RFC 8441). */
const NOT_CARRIED_WITH_KEY = new Set(['upgrade', 'connection'])
const NOT_CARRIED = new Set([...NOT_CARRIED_WITH_KEY, 'sec-websocket-accept'])

/** Adds the negotiated headers, and headers from `headers` listeners of a WebSocketServer. */
function takeLines(
  head: string,
  headers: OutgoingHttpHeaders,
  notCarried: ReadonlySet<string>,
): void {
  for (const [, name, value] of head.matchAll(/^([^\s:]+): (.*)\r$/gm)) {
    const key = (name as string).toLowerCase()
    if (notCarried.has(key)) continue
    const before = key === 'set-cookie' ? headers[key] : undefined
    headers[key] = before === undefined ? value : [before, value as string].flat().map(String)
  }
}
