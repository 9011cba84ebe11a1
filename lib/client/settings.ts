import type { TokenSource } from './token.ts'
import { webSocketUrl } from './url.ts'
import type { WebSocketClass } from './web-socket.ts'

/** How much may wait for a connection. */
export interface QueueOptions {
  /** How many messages. @default 100 */
  messages?: number | undefined
  /** How many bytes of UTF-8. @default 65_536 */
  bytes?: number | undefined
}

/** How a client connects. All are optional; an unknown one throws. */
export interface ConnectOptions {
  /**
   * The token, or a function that gets it, for each attempt to connect and for a refresh. A function
   * has 15 seconds; one that fails is asked again at the next attempt. Without a function, the client
   * cannot come back after 4401: where a cookie is the login, renew it in one that returns nothing.
   */
  token?: TokenSource
  /**
   * `handshake`: among the offered subprotocols, and in a message if the server asks. `message`: only
   * if the server asks, with `koaws:authenticate`. @default 'handshake'
   */
  tokenIn?: 'handshake' | 'message' | undefined
  /** The WebSocket class, such as that of ws. @default globalThis.WebSocket */
  WebSocket?: WebSocketClass | undefined
  /** How long a request waits for its answer, in milliseconds. @default 10_000 */
  timeout?: number | undefined
  /** How much may wait for a connection; `false`: nothing. @default { messages: 100, bytes: 65_536 } */
  queue?: QueueOptions | false | undefined
  /** The largest message taken from the server, in UTF-16 units. @default 1_048_576 */
  maxMessage?: number | undefined
  /** The shortest time between two attempts, in milliseconds. @default 500 */
  minDelay?: number | undefined
  /** The longest time that a back-off comes to, in milliseconds. @default 20_000 */
  maxDelay?: number | undefined
  /**
   * Overrides what is done after a close: `true` comes back, `false` stops, `undefined` leaves it to
   * the table in docs/protocol.md, section 7.
   */
  retry?: ((close: { code: number; reason: string }) => boolean | undefined) | undefined
  /**
   * Hears what nobody else is told: errors without a request (`RequestError`), a token function that
   * failed, queued pushes that are lost when the client stops, messages that cannot be read, and what
   * listeners throw. Without it, what listeners throw goes to `reportError()`, or is thrown in a
   * timer of its own.
   */
  onError?: ((error: unknown) => void) | undefined
}

/** The options with their defaults. */
export interface Settings {
  readonly url: string
  readonly token: TokenSource
  readonly tokenIn: 'handshake' | 'message'
  readonly WebSocket: WebSocketClass
  readonly timeout: number
  readonly queue: QueueOptions | false
  readonly maxMessage: number
  readonly minDelay: number
  readonly maxDelay: number
  readonly retry: ConnectOptions['retry']
  readonly onError: ConnectOptions['onError']
}

/**
 * Check what `connect()` was given, and fill in the defaults.
 *
 * @throws TypeError for a URL or an option that will not do
 * @throws Error with the code `ERR_KOAWS_NO_WEBSOCKET` where there is no WebSocket class
 */
export function readSettings(url: string | URL, options: ConnectOptions): Settings {
  const settings: Omit<Settings, 'url'> = {
    token: undefined,
    tokenIn: 'handshake',
    WebSocket: (globalThis as { WebSocket?: unknown }).WebSocket as WebSocketClass,
    timeout: 10_000,
    queue: {},
    maxMessage: 1_048_576,
    minDelay: 500,
    maxDelay: 20_000,
    retry: undefined,
    onError: undefined,
  }
  const known = settings as unknown as Record<string, unknown>
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) throw new TypeError(`connect() has no option "${name}".`)
    if (typeof known[name] === 'number' && !((value ?? 1) > 0)) {
      throw new TypeError(`connect(): "${name}" must be a number above 0.`)
    }
    known[name] = value ?? known[name]
  }
  if (!/^(handshake|message)$/.test(settings.tokenIn)) {
    throw new TypeError('connect(): "tokenIn" is "handshake" or "message".')
  }
  if (!settings.WebSocket) {
    const text = "connect() needs a WebSocket: pass { WebSocket } from 'ws', or use Node 22."
    throw Object.assign(new Error(text), { code: 'ERR_KOAWS_NO_WEBSOCKET' })
  }
  return { ...settings, url: webSocketUrl(url) }
}
