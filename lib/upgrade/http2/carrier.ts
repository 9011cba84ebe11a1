import {
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
  validateHeaderValue,
} from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { asTransport } from '../../connection/http2-transport.ts'
import { debugUpgrade, messageOf } from '../../debug.ts'
import { UpgradeError } from '../../errors.ts'
import { type Accepted, type Acceptor, clientGone } from '../acceptor.ts'
import type { Carried, Carrier } from '../carrier.ts'
import { carriedHeaders, finishStreamResponse } from '../finished-response.ts'
import type { Refusal } from '../handshake.ts'
import { linger } from '../refusal.ts'
import { letGo } from './compatibility.ts'
import { checkConnect } from './handshake.ts'

const EMPTY = Buffer.alloc(0)
const NO_LINES: readonly string[] = []
/** What RFC 8441 leaves out of a handshake, for ws, which asks for it. */
const LEFT_OUT = {
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-key': 'a29hd3Mgb3ZlciBIVFRQLw==',
}

/** An extended CONNECT, accepted with 200; its stream is the WebSocket's. */
export const http2: Carrier = {
  acceptStatus: 200,

  accepts: (status) => status >= 200 && status < 300,

  // The answer to an ordinary GET would be read as frames.
  stray: {
    status: 405,
    text: 'There is no WebSocket here.',
    headers: { Allow: 'GET, HEAD' },
  },

  check: checkConnect,

  // The response itself tells it only when the client has ended its side too.
  answerOf: ({ socket }) => socket,

  // Nor does Node tell of it before the stream ends, which may take a while, and may be an error.
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
 * ws writes the head of a 101 to whatever it is given, and makes its WebSocket of it. That one write
 * is caught, and what ws has negotiated goes into the 200 with the headers of the chain.
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
    for (const [, name, value] of head.matchAll(NEGOTIATED))
      headers[(name as string).toLowerCase()] = value
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

/** The same handshake as ws knows it. */
function asUpgrade(req: IncomingMessage): IncomingMessage {
  return { method: 'GET', url: req.url, headers: { ...req.headers, ...LEFT_OUT } } as never
}

/** The chain's headers. Over HTTP/2 Node takes any value: what would split a line behind a proxy is refused here. */
function acceptHeaders(res: ServerResponse): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { ':status': 200 }
  for (const [name, value] of carriedHeaders(res)) {
    for (const one of [value].flat()) validateHeaderValue(name, String(one))
    headers[name] = value
  }
  return headers
}

/** The lines that tell what was negotiated. */
const NEGOTIATED = /^(sec-websocket-(?:protocol|extensions)): (.*)\r$/gim
