// Performs the WebSocket handshake with ws.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { Connection } from '../connection/connection.ts'
import type { Compression } from '../connection/outbox.ts'
import { UpgradeError } from '../errors.ts'
import type { Forwarded } from './forwarded.ts'

/** The options of ws for connections. */
export interface WsOptions {
  readonly maxPayload: number
  readonly maxFragments: number
  readonly closeTimeout: number
  readonly perMessageDeflate: boolean | object
}

/** The result of a handshake. */
export interface Accepted {
  readonly connection: Connection
  readonly compression: Compression
}

const NON_ASCII = /\P{ASCII}/u

/**
 * Performs the handshake (RFC 6455, section 4.2.2) with ws. `handleUpgrade` calls back
 * synchronously or never. When it does not call back, `accept` throws an error instead, so that its
 * caller cannot hang.
 */
export class Acceptor {
  readonly #server: WebSocketServer
  #subprotocol: string | false = false
  #headers: readonly string[] = []
  #failure: Error | null = null
  #compression: Compression = 'none'

  /** @param forwarded the application's WebSocketServer that the connections are for, if any */
  constructor(options: WsOptions, forwarded?: Forwarded) {
    this.#server = new WebSocketServer({
      ...options,
      noServer: true,
      clientTracking: false,
      WebSocket: Connection as never,
      handleProtocols: () => this.#subprotocol,
    } as never)
    this.#server.on('headers', (lines, req) => {
      for (const line of this.#headers) lines.push(line)
      forwarded?.wss.emit('headers', lines, req)
      this.#compression = compressionOf(lines)
    })
    // With this listener, ws writes no response of its own to a client that it rejects.
    this.#server.on('wsClientError', (error) => {
      this.#failure = error
    })
  }

  /**
   * Writes the 101 and makes the connection.
   *
   * @param headers complete header lines without CRLF, added to those of ws
   * @throws UpgradeError when the handshake is malformed or the client has left
   */
  accept(
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    subprotocol: string | false,
    headers: readonly string[],
  ): Accepted {
    this.#subprotocol = subprotocol
    this.#headers = headers
    this.#failure = null
    // ws writes the head as UTF-8, but header values are latin1, as Node itself writes them.
    const latin1 = headers.length > 0 && NON_ASCII.test(headers.join(''))
    if (latin1) socket.setDefaultEncoding('latin1')
    let connection: Connection | null = null
    this.#server.handleUpgrade(req, socket, head, (accepted) => {
      connection = accepted as Connection
    })
    if (latin1) socket.setDefaultEncoding('utf8')
    if (connection) return { connection, compression: this.#compression }
    const failure = this.#failure as Error | null
    if (failure) throw new UpgradeError('ERR_KOAWS_BAD_HANDSHAKE', failure.message)
    throw clientGone()
  }
}

const EXTENSIONS = 'Sec-WebSocket-Extensions: '

/**
 * Returns how the 101 negotiates compression (RFC 7692, section 7.1). Connections can share a
 * compressed frame when they negotiated no context takeover and the full window.
 */
function compressionOf(lines: readonly string[]): Compression {
  const line = lines.find((one) => one.startsWith(EXTENSIONS))
  if (!line?.includes('permessage-deflate')) return 'none'
  if (!line.includes('server_no_context_takeover')) return 'own'
  const bits = /server_max_window_bits="?(\d+)/.exec(line)
  return bits === null || bits[1] === '15' ? 'shared' : 'own'
}

/** Returns the error of an accept after the client has left. */
export function clientGone(): UpgradeError {
  return new UpgradeError(
    'ERR_KOAWS_CLIENT_GONE',
    'The client left before the upgrade was decided.',
  )
}

/** Caches acceptors, one for each set of options. */
export class Acceptors {
  readonly #base: WsOptions
  readonly #byOptions = new Map<string, Acceptor>()
  readonly #byServer = new WeakMap<Forwarded, Acceptors>()
  readonly #forwarded: Forwarded | undefined
  readonly #default: Acceptor

  constructor(base: WsOptions, forwarded?: Forwarded) {
    this.#base = base
    this.#forwarded = forwarded
    this.#default = new Acceptor(base, forwarded)
  }

  /** Returns the acceptors for a WebSocketServer, which has options that take precedence. */
  forwarding(forwarded: Forwarded): Acceptors {
    let acceptors = this.#byServer.get(forwarded)
    if (!acceptors) {
      acceptors = new Acceptors({ ...this.#base, ...forwarded.options }, forwarded)
      this.#byServer.set(forwarded, acceptors)
    }
    return acceptors
  }

  /** Returns the acceptor for the limits of a route, or the plugin's default. */
  for(maxPayload: number | undefined, maxFragments: number | undefined): Acceptor {
    if (maxPayload === undefined && maxFragments === undefined) return this.#default
    const options = {
      ...this.#base,
      maxPayload: maxPayload ?? this.#base.maxPayload,
      maxFragments: maxFragments ?? fragmentsFor(maxPayload as number, this.#base),
    }
    const key = `${options.maxPayload}/${options.maxFragments}`
    let acceptor = this.#byOptions.get(key)
    if (!acceptor) {
      acceptor = new Acceptor(options, this.#forwarded)
      this.#byOptions.set(key, acceptor)
    }
    return acceptor
  }
}

/** Returns the default of `maxFragments`: one for each KiB of `maxPayload`, at least 1,024. */
export function defaultFragments(maxPayload: number): number {
  return Math.max(1024, Math.ceil(maxPayload / 1024))
}

function fragmentsFor(maxPayload: number, base: WsOptions): number {
  return base.maxFragments === defaultFragments(base.maxPayload)
    ? defaultFragments(maxPayload)
    : base.maxFragments
}
