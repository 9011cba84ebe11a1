// The types of `fakeServer()`.
import type { WebSocketClass } from '../client/web-socket.ts'
import type {
  ClientType,
  DataAndOptions,
  DataArguments,
  DefinitionOf,
  Protocol,
  ProtocolDefinition,
  PushGiven,
  ReplyGiven,
  ReplyTaken,
  ServerRequestType,
  ServerType,
  StreamGiven,
  UploadWire,
  WireData,
} from '../protocol/definition.ts'
import type { Recovery, RoomPosition } from '../protocol/history.ts'

/** A message of the application, sent by the client. */
export interface ReceivedMessage {
  /** The type of the message. */
  readonly type: string
  /** The id of a request; undefined for a push. */
  readonly id?: number
  /** The data, in JSON form. */
  readonly data?: unknown
  /** The key of a request with `retry`: the same each time that it is sent. */
  readonly key?: string
  /** Whether a request with `retry` was sent before. */
  readonly again?: boolean
}

/** A request of a client, for the handler of a fake server. */
export interface FakeRequest<Item = unknown> {
  /**
   * The items of the client, in JSON form.
   *
   * @throws Error `ERR_KOAWS_STREAM` for a request that is not an upload
   */
  readonly upload: AsyncIterableIterator<Item>
  /** Aborts when the client cancels a request with a stream, or its connection ends. */
  readonly signal: AbortSignal
}

/** What a handler returns: the reply, or for a stream the items and then the reply. */
type FakeAnswer<P, T> = [StreamGiven<P, T>] extends [never]
  ? ReplyGiven<P, T> | Promise<ReplyGiven<P, T>>
  :
      | AsyncGenerator<StreamGiven<P, T>, ReplyGiven<P, T>>
      | Generator<StreamGiven<P, T>, ReplyGiven<P, T>>

/** What a client presents in its first message on a connection. */
export interface PresentedPositions {
  /** The ids of its last connections, newest last. */
  readonly previous: readonly string[]
  /** The positions by room; the key for the messages to the user is the empty string. */
  readonly positions: Readonly<Record<string, string>>
}

/** The place of a pushed message in a room with history. */
export interface PushPlace {
  /** The room; the empty string for a message to the user. */
  readonly room: string
  /** A position such as `e1.7.k7`: epoch, offset and key. */
  readonly position: string
  /** Identifies a message to several rooms: the client delivers it once. */
  readonly once?: string | undefined
}

/** The messages about rooms with history, by type: `docs/protocol.md`, section 3.6. */
export interface HistoryMessages {
  /** The position of a room that the client has joined. */
  readonly 'koaws:position': RoomPosition
  /** Whether the missed messages of a room follow. */
  readonly 'koaws:recovered': Recovery
  /** The position moved without a message. */
  readonly 'koaws:at': RoomPosition
  /** The client has left a room. */
  readonly 'koaws:left': { readonly room: string }
}

/** The options of `fakeServer()`. */
export interface FakeServerOptions {
  /** Whether to ask for the token with `koaws:authenticate`. @default false */
  authenticate?: boolean
  /** Fields of the welcome, such as `refresh`, `expiresAt`, `heartbeat` or `maxMessage`. */
  welcome?: Readonly<Record<string, unknown>>
}

/** A server for tests of code that uses `koaws/client`. */
export type FakeServer<P = Protocol> = FakeServerOf<DefinitionOf<P>>

/** {@link FakeServer}, by the definition of its protocol. */
export interface FakeServerOf<P extends ProtocolDefinition> {
  /** Pass it as the option `WebSocket` of `connect()`. */
  readonly WebSocket: WebSocketClass
  /** The messages of the application that clients sent, oldest first. */
  readonly received: readonly ReceivedMessage[]
  /** The tokens that clients sent, in the handshake and in `koaws:auth`, oldest first. */
  readonly tokens: readonly string[]
  /** What clients presented on each connection with `koaws:resume`, oldest first. */
  readonly resumes: readonly PresentedPositions[]
  /** The number of open connections. */
  readonly connections: number
  /** The number of WebSockets created so far. */
  readonly attempts: number
  /**
   * Handles a message `type`. The return value of the `handler`, or of its promise, answers a request. An
   * error with `code` and `status` is sent as it is, any other as `internal`. A request with `retry` that
   * is sent again gets the answer of the first time. A request without a
   * handler is answered with `ERR_KOAWS_UNKNOWN_TYPE`. Data are not checked against the protocol.
   * A generator sends its items as the client grants credit, and returns the reply. Streams are not
   * resumed: the end of the connection cancels them, and a client that asks for the rest gets
   * `ERR_KOAWS_STREAM_LOST`. So does a client that sends the request of a begun stream again.
   * Returns a function that removes the handler.
   */
  on<T extends ClientType<P>>(
    type: T,
    handler: (data: WireData<P, T>, request: FakeRequest<UploadWire<P, T>>) => FakeAnswer<P, T>,
  ): () => void
  /**
   * Pushes a message of a `type` to every open connection. `rest` is the data, and then the place
   * in a room with history, if it has one.
   *
   * @throws Error without an open connection
   */
  push<T extends ServerType<P>>(type: T, ...rest: DataAndOptions<PushGiven<P, T>, PushPlace>): void
  /**
   * Sends a message of a `type` about a room with history, with its `data`, to every open
   * connection. The server keeps no history: the test says what was missed, and pushes it.
   *
   * @throws Error without an open connection
   */
  tell<T extends keyof HistoryMessages>(type: T, data: HistoryMessages[T]): void
  /**
   * Sends a request of a `type`, with `data`, to the client that connected last, and resolves with its answer. Rejects with
   * an Error that has the fields of the client's error, without a connection, or when the
   * connection ends.
   */
  request<T extends ServerRequestType<P>>(
    type: T,
    ...data: DataArguments<PushGiven<P, T>>
  ): Promise<ReplyTaken<P, T>>
  /** Resolves with the next message (of the `type`, if given) that no earlier `next()` returned. */
  next(type?: ClientType<P>): Promise<ReceivedMessage>
  /** Resolves when a connection is open; at once if one is. */
  connected(): Promise<void>
  /**
   * Closes all connections.
   *
   * @param code 1006 simulates a broken connection. Default 1000
   * @param reason the close reason
   */
  close(code?: number, reason?: string): void
  /**
   * Closes all connections like a restarting server that asks for a reconnect in `after`
   * milliseconds.
   */
  bye(after: number): void
  /**
   * Rejects further attempts like a server: accepts the handshake, then closes. With 1006, the
   * handshake fails, as if the server were unreachable.
   *
   * @param code the close code
   * @param reason the close reason
   */
  reject(code: number, reason?: string): void
  /** Accepts further attempts. */
  accept(): void
}
