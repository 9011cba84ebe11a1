// Replaces Node's request and response after the accept by small records, to save memory.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'
import { hintLateResponse } from './hints.ts'

/** An emitter without events: it accepts listeners and never calls them. */
class Quiet {
  on(): this {
    return this
  }
  once(): this {
    return this
  }
  addListener(): this {
    return this
  }
  removeListener(): this {
    return this
  }
  emit(): boolean {
    return false
  }
  off(): this {
    return this
  }
  prependListener(): this {
    return this
  }
  removeAllListeners(): this {
    return this
  }
  setTimeout(): this {
    return this
  }
  destroy(): this {
    return this
  }
  listenerCount(): number {
    return 0
  }
  listeners(): never[] {
    return []
  }
}

/**
 * The `ctx.req` after the accept: method, target, headers and socket, but no stream. Node's own
 * request would keep about 2 KiB more per open connection.
 */
export class RequestRecord extends Quiet {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly socket: Duplex

  constructor(req: Pick<IncomingMessage, 'method' | 'url' | 'headers'>, socket: Duplex) {
    super()
    this.method = req.method ?? 'GET'
    this.url = req.url ?? ''
    this.headers = req.headers
    this.socket = socket
  }

  /** Returns the request with a credential, not enumerable: loggers that copy headers miss it. */
  withAuthorization(value: string): RequestRecord {
    const { method, url } = this
    const headers = { ...this.headers }
    Object.defineProperty(headers, 'authorization', {
      value,
      configurable: true,
      enumerable: false,
    })
    const Same = this.constructor as typeof RequestRecord
    return new Same({ method, url, headers }, this.socket)
  }

  get connection(): Duplex {
    return this.socket
  }
  get httpVersion(): string {
    return '1.1'
  }
  get httpVersionMajor(): number {
    return 1
  }
  get httpVersionMinor(): number {
    return 1
  }
  get complete(): boolean {
    return true
  }
  get readableEnded(): boolean {
    return true
  }
  get destroyed(): boolean {
    return true
  }
  get headersDistinct(): Record<string, string[]> {
    return Object.fromEntries(
      Object.entries(this.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value : [value ?? ''],
      ]),
    )
  }
  get upgrade(): boolean {
    return true
  }
  /** Alternating names and values. Names are in lower case, and repeated lines are joined. */
  get rawHeaders(): string[] {
    return Object.entries(this.headers).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value ?? '']).flatMap((one) => [name, one]),
    )
  }
}

/** The {@link RequestRecord} of a handshake over HTTP/2. */
export class Http2RequestRecord extends RequestRecord {
  override get httpVersion(): string {
    return '2.0'
  }
  override get httpVersionMajor(): number {
    return 2
  }
  override get httpVersionMinor(): number {
    return 0
  }
  override get upgrade(): boolean {
    return false
  }
  get authority(): string {
    return String(this.headers[':authority'])
  }
  get scheme(): string {
    return String(this.headers[':scheme'])
  }
}

/** The `ctx.res` after the accept: it looks finished, discards output, and holds no data. */
export class ResponseRecord extends Quiet {
  get statusCode(): number {
    return 101
  }
  set statusCode(_value: number) {}
  get statusMessage(): string {
    return 'Switching Protocols'
  }
  set statusMessage(_value: string) {}
  get headersSent(): boolean {
    return true
  }
  get finished(): boolean {
    return true
  }
  get destroyed(): boolean {
    return true
  }
  get closed(): boolean {
    return true
  }
  get writableEnded(): boolean {
    return true
  }
  get writableFinished(): boolean {
    return true
  }
  get writable(): boolean {
    return false
  }
  get socket(): null {
    return null
  }
  get connection(): null {
    return null
  }
  setHeaders(): this {
    return this
  }
  getHeader(): undefined {}
  getHeaders(): Record<string, never> {
    return {}
  }
  getHeaderNames(): string[] {
    return []
  }
  hasHeader(): boolean {
    hintLateResponse() // Koa calls it when a body is set
    return false
  }
  setHeader(): this {
    hintLateResponse()
    return this
  }
  appendHeader(): this {
    return this
  }
  removeHeader(): void {}
  flushHeaders(): void {}
  writeHead(): this {
    return this
  }
  write(): boolean {
    hintLateResponse()
    return true
  }
  end(): this {
    return this
  }
}

/** The {@link ResponseRecord} of an accept with 200. */
class Http2ResponseRecord extends ResponseRecord {
  override get statusCode(): number {
    return 200
  }
  override set statusCode(_value: number) {}
  override get statusMessage(): string {
    return ''
  }
  override set statusMessage(_value: string) {}
}

/**
 * Replaces Node's request and response behind a ctx by records, and drops values that Koa cached
 * from them. A handler that keeps its ctx then keeps little memory.
 */
export function slimContext(ctx: Context, socket: Duplex): void {
  const overHttp2 = ctx.req.httpVersionMajor >= 2
  const req = recordOf(ctx.req, overHttp2, socket) as unknown as Context['req']
  const Response = overHttp2 ? Http2ResponseRecord : ResponseRecord
  const res = new Response() as unknown as Context['res']
  ctx.req = ctx.request.req = ctx.response.req = req
  ctx.res = ctx.request.res = ctx.response.res = res
  // Koa creates both again on demand from the records. A value that was never created stays so.
  if (Object.getOwnPropertySymbols(ctx).length > 1)
    ctx.cookies = undefined as unknown as Context['cookies']
  if (Object.hasOwn(ctx.request, '_accept')) ctx.accept = undefined as unknown as Context['accept']
}

/** Returns the record of a request. Over HTTP/2 `req.socket` stands for the session. */
function recordOf(req: Context['req'], overHttp2: boolean, socket: Duplex): RequestRecord {
  return overHttp2 ? new Http2RequestRecord(req, req.socket) : new RequestRecord(req, socket)
}
