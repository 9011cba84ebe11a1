import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * The 101 has left by another way: make the response look finished to everybody who waits for that
 * (loggers, spans, sessions, Koa itself), and take it off the socket, so that nothing which is
 * written to it later can reach the wire.
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
    // Node's own: it emits `close` by itself, and has started its keep-alive timer.
    ;(socket as { setTimeout?: (ms: number) => void }).setTimeout?.(0)
    return
  }
  markClosed(res)
  emitSafely(res, 'close', onError)
}

/** The same for a response over HTTP/2, whose stream is the connection's from now on. */
export function finishStreamResponse(res: ServerResponse, onError: (error: unknown) => void): void {
  for (const name of ['finished', 'writableEnded']) {
    Object.defineProperty(res, name, { value: true, configurable: true })
  }
  emitSafely(res, 'finish', onError)
  markClosed(res)
  emitSafely(res, 'close', onError)
  // Node emits both once more when the stream ends; to whoever logs or measures it would be another.
  res.emit = returnFalse
  silence(res)
}

/** The response's connection is gone, or no longer its own. */
export function emitClose(res: ServerResponse): void {
  markClosed(res)
  res.emit('close')
}

/** As Node does before `close`; `_closed` is what `stream.finished` looks at. */
function markClosed(res: ServerResponse): void {
  res.destroyed = true
  ;(res as { _closed?: boolean })._closed = true
}

function emitSafely(res: ServerResponse, event: string, onError: (error: unknown) => void): void {
  try {
    res.emit(event)
  } catch (error) {
    onError(error)
  }
}

/**
 * Answer with a text in place of the application, dropping the headers that it has set. What it still
 * does with its response goes nowhere.
 */
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

/**
 * Make a response that we have answered deaf: what an application that was too late does with it
 * goes nowhere, instead of throwing where nobody catches.
 */
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

/** Whoever waits for a callback must not wait for ever. */
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
 * The headers of a response that may stand on an accept: not what belongs to one hop
 * (RFC 9110, section 7.6.1), not what describes a body, and not what ws writes itself.
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

/** {@link carriedHeaders} as lines of a 101, without CRLF. */
export function headerLines(res: ServerResponse): string[] {
  const lines: string[] = []
  for (const [name, value] of carriedHeaders(res)) {
    if (Array.isArray(value)) for (const one of value) lines.push(`${name}: ${one}`)
    else lines.push(`${name}: ${value}`)
  }
  return lines
}

/** Names in the case that they were set with; over HTTP/2 in lower case. */
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
