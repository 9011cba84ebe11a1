import type { IncomingMessage } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2Session } from 'node:http2'

/** The session that a request came on; undefined over HTTP/1. */
export function sessionOf(req: IncomingMessage): Http2Session | undefined {
  return (req as unknown as Partial<Http2ServerRequest>).stream?.session
}

/** The HTTP/2 sessions of one server, and what they are told of the extended CONNECT. */
export class Sessions {
  readonly #open: Set<Http2Session> = new Set()
  readonly #server: Http2Server
  readonly #onSession = (session: Http2Session): void => this.#add(session)
  readonly #onClose: (this: Http2Session) => void
  #closing = false

  /** Later sessions say from their first frame on that they take it (RFC 8441, section 3). */
  constructor(server: Http2Server) {
    this.#server = server
    const open = this.#open
    this.#onClose = function () {
      open.delete(this)
    }
    server.updateSettings({ enableConnectProtocol: true })
    server.on('session', this.#onSession)
  }

  /** A session that may have begun earlier: its client is told now. */
  know(session: Http2Session | undefined): void {
    if (!session || session.closed || session.destroyed || this.#open.has(session)) return
    this.#add(session)
    session.settings({ enableConnectProtocol: true })
  }

  /**
   * No new session says so, unless somebody else takes it. One that has said so must not take it back
   * (RFC 8441, section 3).
   */
  forget(stillTaken: boolean): void {
    this.#server.off('session', this.#onSession)
    if (!stillTaken) this.#server.updateSettings({ enableConnectProtocol: false })
    for (const session of this.#open) session.off('close', this.#onClose)
    this.#open.clear()
  }

  /** GOAWAY: each ends with its last stream. Later ones get it too. */
  close(): void {
    this.#closing = true
    for (const session of this.#open) session.close()
  }

  /** End all that are open, and their streams. */
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

/** The errors of frames, which Node finds while it parses a read. */
const WHILE_PARSING = new Set(['ERR_HTTP2_ERROR', 'ERR_HTTP2_SESSION_ERROR'])

/**
 * Node destroys a session from within its parser, which goes on with the same read and may then fail an
 * assertion: the process ends (seen on Node 22, 24 and 26). Destroyed when the read is over it does not.
 */
function outliveParser(session: Http2Session): void {
  const { destroy } = session
  if (Object.hasOwn(session, 'destroy')) return // has been here, before a detach
  session.destroy = function (this: Http2Session, error?: Error, code?: number): void {
    const name = (error as { code?: string } | undefined)?.code ?? ''
    if (WHILE_PARSING.has(name)) setImmediate(() => destroy.call(this, error, code))
    else destroy.call(this, error, code)
  }
}
