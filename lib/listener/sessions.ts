// The HTTP/2 sessions of a server, and their setting for the extended CONNECT.
import type { IncomingMessage } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2Session, Settings } from 'node:http2'

/** Returns the session of a request; undefined over HTTP/1. */
export function sessionOf(req: IncomingMessage): Http2Session | undefined {
  return (req as unknown as Partial<Http2ServerRequest>).stream?.session
}

/**
 * The streams that a session may have open at a time, for a server without
 * `settings.maxConcurrentStreams`; Node's default is four billion. nghttp2 resets further streams
 * with REFUSED_STREAM, and Node ends a session after a thousand of them
 * (`maxSessionInvalidFrames`).
 */
const MOST_STREAMS = 1_000

/**
 * Returns whether a server has its own limit on streams. Node keeps its settings under a symbol.
 * Without that symbol, the limit stays unchanged.
 */
function limitsStreams(server: Http2Server): boolean {
  const key = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'options',
  )
  if (key === undefined) return true
  const { settings } = (server as unknown as Record<symbol, { settings?: Settings }>)[key] ?? {}
  return settings?.maxConcurrentStreams !== undefined
}

/** Tracks the HTTP/2 sessions of one server, and enables the extended CONNECT on them. */
export class Sessions {
  readonly #open: Set<Http2Session> = new Set()
  readonly #server: Http2Server
  readonly #onSession = (session: Http2Session): void => this.#add(session)
  readonly #onClose: (this: Http2Session) => void
  #closing = false

  /** Makes new sessions announce extended CONNECT in their first frame (RFC 8441, section 3). */
  constructor(server: Http2Server) {
    this.#server = server
    const open = this.#open
    this.#onClose = function () {
      open.delete(this)
    }
    server.updateSettings({
      enableConnectProtocol: true,
      ...(limitsStreams(server) ? {} : { maxConcurrentStreams: MOST_STREAMS }),
    })
    server.on('session', this.#onSession)
  }

  /** Adds a session that may have begun earlier, and announces the extended CONNECT on it. */
  know(session: Http2Session | undefined): void {
    if (!session || session.closed || session.destroyed || this.#open.has(session)) return
    this.#add(session)
    session.settings({ enableConnectProtocol: true })
  }

  /**
   * Stops announcing it to new sessions, unless another listener still handles it. A session that
   * has announced it must not withdraw it (RFC 8441, section 3).
   */
  forget(stillTaken: boolean): void {
    this.#server.off('session', this.#onSession)
    if (!stillTaken) this.#server.updateSettings({ enableConnectProtocol: false })
    for (const session of this.#open) session.off('close', this.#onClose)
    this.#open.clear()
  }

  /** Sends GOAWAY to all sessions, present and later ones: each ends after its last stream. */
  close(): void {
    this.#closing = true
    for (const session of this.#open) session.close()
  }

  /** Destroys all open sessions and their streams. */
  destroy(): void {
    for (const session of this.#open) session.destroy()
  }

  #add(session: Http2Session): void {
    this.#open.add(session)
    outliveParser(session)
    session.on('close', this.#onClose)
    if (this.#closing) session.close()
  }
}

/** The errors of frames, which Node raises while it parses a read. */
const WHILE_PARSING = new Set(['ERR_HTTP2_ERROR', 'ERR_HTTP2_SESSION_ERROR'])

/**
 * Defers `destroy()` of a session until the current read has ended. Otherwise Node destroys it from
 * within its parser, which continues with the same read. It may then fail an assertion that ends
 * the process (seen on Node 22, 24 and 26).
 */
function outliveParser(session: Http2Session): void {
  const { destroy } = session
  if (Object.hasOwn(session, 'destroy')) return // wrapped earlier, before a `detach()`
  session.destroy = function (this: Http2Session, error?: Error, code?: number): void {
    const name = (error as { code?: string } | undefined)?.code ?? ''
    if (WHILE_PARSING.has(name)) setImmediate(() => destroy.call(this, error, code))
    else destroy.call(this, error, code)
  }
}
