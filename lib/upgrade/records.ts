import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'

/** Listeners on a request or response whose events are over: accepted, and never called. */
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
 * What `ctx.req` is after the 101: method, target, headers and socket, and no stream. Node's own
 * request would keep about 2 KiB more of every open connection.
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

  /** The same request with another header. */
  withHeader(name: string, value: string): RequestRecord {
    const { method, url, headers } = this
    const Same = this.constructor as typeof RequestRecord
    return new Same({ method, url, headers: { ...headers, [name]: value } }, this.socket)
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
  /** Names and values by turns; names in lower case, as far as they are still known. */
  get rawHeaders(): string[] {
    return Object.entries(this.headers).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value ?? '']).flatMap((one) => [name, one]),
    )
  }
}

/** {@link RequestRecord} of a handshake that came over HTTP/2. */
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

/** What `ctx.res` is after the 101: finished, and deaf to whatever is set. It holds nothing itself. */
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
    return false
  }
  setHeader(): this {
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
    return true
  }
  end(): this {
    return this
  }
}

/** {@link ResponseRecord} of an accept with 200. */
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
 * Replace Node's request and response behind a ctx by their records, and drop what Koa has cached
 * of them, so that a handler that keeps its ctx keeps little.
 */
export function slimContext(ctx: Context, socket: Duplex): void {
  const overHttp2 = ctx.req.httpVersionMajor >= 2
  const req = recordOf(ctx.req, overHttp2, socket) as unknown as Context['req']
  const Response = overHttp2 ? Http2ResponseRecord : ResponseRecord
  const res = new Response() as unknown as Context['res']
  ctx.req = ctx.request.req = ctx.response.req = req
  ctx.res = ctx.request.res = ctx.response.res = res
  // Both are built anew from the records when somebody asks again; unset they are left unset.
  if (Object.getOwnPropertySymbols(ctx).length > 1)
    ctx.cookies = undefined as unknown as Context['cookies']
  if (Object.hasOwn(ctx.request, '_accept')) ctx.accept = undefined as unknown as Context['accept']
}

/** Over HTTP/2 `req.socket` speaks for the session: addresses and TLS are asked there. */
function recordOf(req: Context['req'], overHttp2: boolean, socket: Duplex): RequestRecord {
  return overHttp2 ? new Http2RequestRecord(req, req.socket) : new RequestRecord(req, socket)
}
