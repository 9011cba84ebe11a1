// Makes a response look finished, and selects its headers for the accept.

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Makes a response look finished after the 101 has been written past it. Loggers, sessions and Koa
 * itself wait for its events. It is detached from the socket, so that later writes cannot reach the
 * client.
 */
export function finishResponse(
  res: ServerResponse,
  socket: Duplex,
  takenOver: boolean,
  onError: (error: unknown) => void,
): void {
  ;(res as { finished: boolean }).finished = true
  Object.defineProperty(res, 'headersSent', { value: true, configurable: true })
  emitSafely(res, 'finish', onError)
  if (res.socket) res.detachSocket(socket as never)
  if (takenOver) {
    // Node's own response: Node emits `close` itself, and has started its keep-alive timer.
    const timed: object & { setTimeout?: (ms: number) => void } = socket
    timed.setTimeout?.(0)
    return
  }
  markClosed(res)
  emitSafely(res, 'close', onError)
}

/** Does the same for a response over HTTP/2, after its stream has become the connection's. */
export function finishStreamResponse(res: ServerResponse, onError: (error: unknown) => void): void {
  for (const name of ['finished', 'writableEnded']) {
    Object.defineProperty(res, name, { value: true, configurable: true })
  }
  emitSafely(res, 'finish', onError)
  markClosed(res)
  emitSafely(res, 'close', onError)
  // Node would emit both events again when the stream ends, and loggers would count a second
  // request.
  res.emit = returnFalse
  silence(res)
}

/** Emits `close` when the response has lost its connection. */
export function emitClose(res: ServerResponse): void {
  markClosed(res)
  res.emit('close')
}

/** Sets what Node sets before `close`; `stream.finished` reads `_closed`. */
function markClosed(res: ServerResponse & { _closed?: boolean }): void {
  res.destroyed = true
  res._closed = true
}

function emitSafely(res: ServerResponse, event: string, onError: (error: unknown) => void): void {
  try {
    res.emit(event)
  } catch (error) {
    onError(error)
  }
}

/** Answers with a text, without the headers of the application; discards its later output. */
export function answerText(
  res: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  for (const name in headers) res.setHeader(name, headers[name] as string)
  res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.setHeader('Content-Length', Buffer.byteLength(text))
  res.statusCode = status
  res.end(text)
  silence(res)
}

/** Makes the methods of an answered response do nothing: late output would throw. */
function silence(res: ServerResponse): void {
  const quiet = res as unknown as Record<string, (...args: unknown[]) => unknown>
  for (const name of DEAF) quiet[name] = returnThis
  quiet['end'] = quietEnd
  quiet['write'] = quietWrite
}

const DEAF = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'writeHead',
  'flushHeaders',
]

/** Calls the callback of a discarded write, so that its caller does not wait forever. */
export function callBack(args: readonly unknown[]): void {
  const callback = args.at(-1)
  if (typeof callback === 'function') process.nextTick(callback as () => void)
}

function quietEnd(this: unknown, ...args: unknown[]): unknown {
  callBack(args)
  return this
}

function quietWrite(...args: unknown[]): boolean {
  callBack(args)
  return true
}

function returnFalse(): boolean {
  return false
}

function returnThis(this: unknown): unknown {
  return this
}

const HOP_BY_HOP = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

type Header = readonly [name: string, value: ReturnType<ServerResponse['getHeader']>]

/**
 * Returns the headers of a response for an accept. Left out are headers of one hop (RFC 9110,
 * section 7.6.1), headers that describe a body, and headers that ws writes itself.
 */
export function carriedHeaders(res: ServerResponse): Header[] {
  const headers: Header[] = []
  const named = namedByConnection(res)
  for (const name of rawHeaderNames(res)) {
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || lower.startsWith('content-')) continue
    if (lower.startsWith('sec-websocket-') || named?.has(lower)) continue
    headers.push([name, res.getHeader(name)])
  }
  return headers
}

/** Returns {@link carriedHeaders} as lines of a 101, without CRLF. */
export function headerLines(res: ServerResponse): string[] {
  const lines: string[] = []
  for (const [name, value] of carriedHeaders(res)) {
    if (Array.isArray(value)) for (const one of value) lines.push(`${name}: ${one}`)
    else lines.push(`${name}: ${value}`)
  }
  return lines
}

/** Returns header names in the case in which they were set; over HTTP/2 in lower case. */
function rawHeaderNames(res: ServerResponse): string[] {
  const { getRawHeaderNames } = res as unknown as { getRawHeaderNames?(): string[] }
  return getRawHeaderNames ? getRawHeaderNames.call(res) : res.getHeaderNames()
}

function namedByConnection(res: ServerResponse): Set<string> | null {
  const value = res.getHeader('connection')
  if (value === undefined) return null
  return new Set(
    String(value)
      .split(',')
      .map((name) => name.trim().toLowerCase()),
  )
}
