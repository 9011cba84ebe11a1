// The options of `connect()`: types, defaults and checks.
import type { Streams } from './stream-types.ts'
import type { TokenSource } from './token.ts'
import { webSocketUrl } from './url.ts'
import type { WebSocketClass } from './web-socket.ts'

/** The bounds of the queue of messages that wait for a connection. */
export interface QueueOptions {
  /** The largest number of messages. @default 100 */
  messages?: number | undefined
  /** The largest total size, in bytes of UTF-8. @default 65_536 */
  bytes?: number | undefined
}

/** The options of `connect()`. All are optional; an unknown option throws. */
export interface ConnectOptions {
  /**
   * The token, or a function that returns it. The client calls the function for each attempt to
   * connect and for each refresh. It has 15 seconds; after a failure, the client calls it again at
   * the next attempt. Without a function, the client stops after 4401. When the login is a cookie,
   * renew it in a function that returns nothing.
   */
  token?: TokenSource
  /**
   * Where the token is sent. `handshake`: among the offered subprotocols, and in a message if the
   * server asks. `message`: only in a message, if the server asks with `koaws:authenticate`.
   * @default 'handshake'
   */
  tokenIn?: 'handshake' | 'message' | undefined
  /** The WebSocket class, for example that of ws. @default globalThis.WebSocket */
  WebSocket?: WebSocketClass | undefined
  /** How long a request waits for its answer, in milliseconds. @default 10_000 */
  timeout?: number | undefined
  /**
   * The bounds of the queue of messages that wait for a connection; `false` turns it off. @default
   * { messages: 100, bytes: 65_536 }
   */
  queue?: QueueOptions | false | undefined
  /** The largest message accepted from the server, in UTF-16 units. @default 1_048_576 */
  maxMessage?: number | undefined
  /** The shortest time between two attempts, in milliseconds. @default 500 */
  minDelay?: number | undefined
  /** The upper limit of the back-off, in milliseconds. @default 20_000 */
  maxDelay?: number | undefined
  /**
   * Decides whether to reconnect after a close: `true` reconnects, `false` stops, `undefined`
   * follows the table in docs/protocol.md, section 7.
   */
  retry?: ((close: { code: number; reason: string }) => boolean | undefined) | undefined
  /**
   * Receives errors that no promise carries: errors of the server without a request
   * (`RequestError`), failed token functions, queued pushes that are dropped when the client stops,
   * malformed messages, and errors that listeners throw. Without it, errors of listeners go to
   * `reportError()`, or are thrown from a timer.
   */
  onError?: ((error: unknown) => void) | undefined
  /**
   * The positions to go on from, by room: given by the server along with the state of the page, or
   * `client.positions` of an earlier page. The key for the messages to the user is the empty
   * string. On each connection, the client presents the 128 rooms that it used last, in at most 16
   * KiB.
   */
  positions?: Readonly<Record<string, string>> | undefined
  /**
   * Loads the state of a room after a refused recovery (`koaws:recovered` with `recovered: false`).
   * Resolves with the position that the server gave along with the state, or with undefined for the
   * position at which the server goes on. Until it settles, the messages of the room are held: give
   * it a time limit. Then the held messages up to the position are dropped, and the others are
   * delivered. When it rejects, or the position is older than the server's, `onError` is called and
   * all of them are delivered. When the held messages of all rooms exceed 1 MiB, where each counts
   * 1 KiB more, they are dropped, and `onError` is called. When the room is refused again
   * meanwhile, the result is ignored, and `reload` is called again: the calls for one room never
   * overlap. It runs for at most 128 rooms at once; for others, only `koaws:recovered` tells of the
   * refusal. For the messages to the user, `room` is the empty string.
   */
  reload?: ((room: string) => Promise<string | undefined> | string | undefined) | undefined
  /**
   * The part of the client for `stream()` and `upload()`, from `koaws/client/streams`. Without it,
   * the first stream or upload loads the part: a page then loads a file of its own.
   */
  streams?: Streams | undefined
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
  readonly positions: Readonly<Record<string, string>>
  readonly reload: ConnectOptions['reload']
  readonly streams: ConnectOptions['streams']
}

/** The expected types of the options that are not numbers. */
const KINDS: Record<string, string> = {
  retry: 'function',
  onError: 'function',
  reload: 'function',
  streams: 'function',
  positions: 'positions object',
  WebSocket: 'function',
  token: 'string or function',
  queue: 'QueueOptions object or false',
}

/**
 * Checks the arguments of `connect()` and fills in the defaults.
 *
 * @throws TypeError for an invalid URL or option
 * @throws Error with the code `ERR_KOAWS_NO_WEBSOCKET` when there is no WebSocket class
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
    positions: {},
    reload: undefined,
    streams: undefined,
  }
  const known = settings as unknown as Record<string, unknown>
  if (typeof options !== 'object' || !options) {
    throw new TypeError(`connect() takes an object of options, not ${shown(options)}.`)
  }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) throw new TypeError(`connect() has no option "${name}".`)
    if (value == null) continue
    const wanted = KINDS[name] ?? (typeof known[name] === 'number' && 'number above 0')
    const kind = value === false ? 'false' : typeof value
    if (wanted && !(wanted.includes(kind) && (kind !== 'number' || (value as number) > 0)))
      throw new TypeError(`connect(): "${name}" must be a ${wanted}, not ${shown(value)}.`)
    known[name] = value
  }
  if (!/^(handshake|message)$/.test(settings.tokenIn)) {
    throw new TypeError('connect(): "tokenIn" must be "handshake" or "message".')
  }
  if (!settings.WebSocket) {
    const text = "Pass { WebSocket } from 'ws', or use Node 22."
    throw Object.assign(new Error(text), { code: 'ERR_KOAWS_NO_WEBSOCKET' })
  }
  return { ...settings, url: webSocketUrl(url) }
}

/** Returns a value for an error message: its text, or its type when the text says little. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return value && /^[fos]/.test(typeof value) ? typeof value : `${value}`
}
