import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { Connection } from '../connection/connection.ts'
import type { Compression } from '../connection/outbox.ts'
import { UpgradeError } from '../errors.ts'

/** What ws is told about the connections that it makes. */
export interface WsOptions {
  readonly maxPayload: number
  readonly maxFragments: number
  readonly closeTimeout: number
  readonly perMessageDeflate: boolean | object
}

/** A handshake that is done. */
export interface Accepted {
  readonly connection: Connection
  readonly compression: Compression
}

const NON_ASCII = /\P{ASCII}/u

/**
 * The handshake itself (RFC 6455, section 4.2.2), by ws. `handleUpgrade` calls back synchronously
 * or never: what never calls back becomes an error here, so that nobody waits for it.
 */
export class Acceptor {
  readonly #server: WebSocketServer
  #subprotocol: string | false = false
  #headers: readonly string[] = []
  #failure: Error | null = null
  #compression: Compression = 'none'

  constructor(options: WsOptions) {
    this.#server = new WebSocketServer({
      ...options,
      noServer: true,
      clientTracking: false,
      WebSocket: Connection as never,
      handleProtocols: () => this.#subprotocol,
    } as never)
    this.#server.on('headers', (lines) => {
      this.#compression = compressionOf(lines)
      for (const line of this.#headers) lines.push(line)
    })
    // With a listener ws writes nothing of its own to a client that it turns away.
    this.#server.on('wsClientError', (error) => {
      this.#failure = error
    })
  }

  /**
   * Write the 101 and make the connection.
   *
   * @param headers complete header lines, without CRLF, that the 101 carries besides ws's own
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
    // ws writes the head as UTF-8 text; header values are latin1 (as Node writes them itself).
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
 * How the 101 says that messages are compressed (RFC 7692, section 7.1). A frame can be shared when
 * it begins anew and may look back as far as deflate can.
 */
function compressionOf(lines: readonly string[]): Compression {
  const line = lines.find((one) => one.startsWith(EXTENSIONS))
  if (!line?.includes('permessage-deflate')) return 'none'
  if (!line.includes('server_no_context_takeover')) return 'own'
  const bits = /server_max_window_bits="?(\d+)/.exec(line)
  return bits === null || bits[1] === '15' ? 'shared' : 'own'
}

/** The error of an accept that nobody waits for any more. */
export function clientGone(): UpgradeError {
  return new UpgradeError(
    'ERR_KOAWS_CLIENT_GONE',
    'The client left before the upgrade was decided.',
  )
}

/** Acceptors for options that differ by route, one for each set of options. */
export class Acceptors {
  readonly #base: WsOptions
  readonly #byOptions = new Map<string, Acceptor>()
  readonly #default: Acceptor

  constructor(base: WsOptions) {
    this.#base = base
    this.#default = new Acceptor(base)
  }

  /** The acceptor for a route's own limits, or the plugin's. */
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
      acceptor = new Acceptor(options)
      this.#byOptions.set(key, acceptor)
    }
    return acceptor
  }
}

/** `maxFragments` grows with `maxPayload` unless set: one for each KiB, at least 1,024. */
export function defaultFragments(maxPayload: number): number {
  return Math.max(1024, Math.ceil(maxPayload / 1024))
}

function fragmentsFor(maxPayload: number, base: WsOptions): number {
  return base.maxFragments === defaultFragments(base.maxPayload)
    ? defaultFragments(maxPayload)
    : base.maxFragments
}
