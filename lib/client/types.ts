// The interface `Client`.
import type {
  AnswerGiven,
  ClientData,
  ClientType,
  DataAndOptions,
  DefinitionOf,
  Protocol,
  ProtocolDefinition,
  PushData,
  ReplyTaken,
  ServerRequestType,
  ServerType,
  StreamItem,
  StreamType,
  UploadGiven,
  UploadType,
} from '../protocol/definition.ts'
import type { Recovery } from '../protocol/history.ts'
import type { PresenceData } from '../protocol/presence.ts'
import type { RequestOptions } from './requests.ts'
import type { ClientState } from './store.ts'
import type { ClientStream, Source, StreamOptions, UploadOptions } from './stream-types.ts'

/** The options of a push. */
export interface PushOptions {
  /** Whether the message may wait for a connection. @default true */
  queue?: boolean | undefined
}

/**
 * The result of a push: `sent` on an open connection, `queued` until one opens, or `dropped`,
 * because the client is stopped, the queue is full, or the message may not wait.
 */
export type PushResult = 'sent' | 'queued' | 'dropped'

/** The data of `koaws:resync`: `docs/protocol.md`, section 3.4. */
export interface Resync {
  /** The room to request the state of; null when messages to this client itself were lost. */
  readonly room: string | null
}

/** The trace of a message, as passed to listeners: what the server sent, unchecked. */
export interface MessageTrace {
  /** In the form of `traceparent` (W3C Trace Context). */
  readonly trace?: string
  /** In the form of `tracestate`. */
  readonly tracestate?: string
}

/** A connection that is not open for other messages yet, as passed to `client.onOpen()`. */
export type OpenConnection<P> = Pick<Client<P>, 'push' | 'request'>

/** The return value of a listener: the answer, if the type has one. */
export type ListenerResult<P, T> =
  string extends ServerType<P>
    ? unknown
    : T extends ServerRequestType<P>
      ? AnswerGiven<P, T> | Promise<AnswerGiven<P, T>>
      : unknown

/**
 * A client that keeps a connection to the server. Its methods are bound: `const { subscribe } =
 * client` works.
 *
 * @typeParam P the protocol: `Client<typeof chatProtocol>`
 */
export type Client<P = Protocol> = ClientOf<DefinitionOf<P>>

/** {@link Client}, by the definition of its protocol. */
export interface ClientOf<P extends ProtocolDefinition> {
  /** The state: a new frozen object after each change, so that `===` detects a change. */
  readonly state: ClientState
  /**
   * The positions in rooms with history, by room: a new object at each access. Store it to go on
   * after a reload of the page, with the option `positions`. The key for the messages to the user
   * is the empty string. It has the 1,024 rooms that were used last.
   *
   * The position of a room moves after all listeners of a message have been called. A listener that
   * stores the positions therefore never skips a message; after a reload of the page, the message
   * that it was called for may arrive again. A listener that returns a promise stores them when its
   * work is done. While the option `reload` loads a room, its old position stays.
   */
  readonly positions: Record<string, string>
  /**
   * Calls `fn` after each change of `state`. Connects, if the client has not started. Returns an
   * unsubscribe function.
   */
  subscribe(this: void, fn: () => void): () => void
  /**
   * Listens to messages of a `type` of the server. Connects, if the client has not started. Returns an
   * unsubscribe function. The second argument of `fn` has the trace of a message that carries one. When the server asks for an answer, the first listener of the type gives
   * it: the return value of `fn`, or of its promise. An error that it throws is sent as the answer if it has
   * `code` and `status` (see `RequestError`); otherwise the server receives only `internal`.
   */
  on<T extends ServerType<P>>(
    this: void,
    type: T,
    fn: (data: PushData<P, T>, message: MessageTrace) => ListenerResult<P, T>,
  ): () => void
  /**
   * Listens to reports of lost messages: request the state of the room again. With `room: null`,
   * messages to this client itself were lost.
   */
  on(this: void, type: 'koaws:resync', fn: (data: Resync) => unknown): () => void
  /** Listens to the presence of a room: first all members, then the changes. */
  on(this: void, type: 'koaws:presence', fn: (data: PresenceData) => unknown): () => void
  /**
   * Listens to the outcome for each room with history after a reconnect, or with the option
   * `positions`. With `recovered: true`, the missed messages follow, all of them. With `recovered:
   * false`, none follows: load the state again, best in the option `reload`.
   */
  on(this: void, type: 'koaws:recovered', fn: (data: Recovery) => unknown): () => void
  /**
   * Calls `fn` after each connect and reconnect, before queued messages are sent: to enter a room
   * again, for example. Messages that `fn` sends on the connection that it receives go first. Until
   * all of these functions have settled, the state is `connecting`, and `client.push()` and
   * `client.request()` wait. When a function throws, rejects or takes more than 15 seconds,
   * `onError` is called, the connection ends with 1006, and the client backs off; queued messages
   * stay queued. When the connection ends meanwhile, `fn` is called again for the next one. A
   * connection that is already open is not affected. Connects, if the client has not started.
   * Returns an unsubscribe function.
   */
  onOpen(this: void, fn: (connection: OpenConnection<P>) => unknown): () => void
  /**
   * Sends a message without an answer. Connects, if the client has not started. Queued messages are
   * sent in order, before newer ones. When the client stops first, `onError` is called for each.
   *
   * @param type the name of the message, of 1 to 255 bytes of UTF-8
   * @param rest the data, and then the options
   * @throws TypeError for an invalid type, or data without a JSON form
   * @throws RequestError `ERR_KOAWS_TOO_LARGE` when the message is above the server's limit, if
   * that is known
   */
  push<T extends ClientType<P>>(
    this: void,
    type: T,
    ...rest: DataAndOptions<ClientData<P, T>, PushOptions>
  ): PushResult
  /**
   * Sends a message of a `type`, and resolves with its answer. `rest` is the data, then the options. Connects, if the client has not started; waits in
   * the queue until a connection opens. Always settles. Rejects with a `RequestError` of the
   * server, or with the code `ERR_KOAWS_TIMEOUT`, `ERR_KOAWS_CLOSED`, `ERR_KOAWS_QUEUE_FULL` or
   * `ERR_KOAWS_TOO_LARGE`; with a TypeError for an invalid type or data without a JSON form; or
   * with the reason of the signal. If the error's `sent` is true, the server may have handled the
   * request. With the option `retry`, it is sent again after a reconnect, and handled at most once.
   */
  request<T extends ClientType<P>>(
    this: void,
    type: T,
    ...rest: DataAndOptions<ClientData<P, T>, RequestOptions>
  ): Promise<ReplyTaken<P, T>>
  /**
   * Sends a request of a `type` that the server answers with a stream of items and then a reply, and
   * returns the stream. `rest` is the data, then the options. Connects, if the client has not started; waits in the queue until a
   * connection opens. Leaving the loop over the stream, or `signal`, cancels the request. The first
   * stream loads the code of streams, unless `connect()` got it with the option `streams`.
   *
   * Iterator and `reply` reject as `request()` does. When the connection ends, they reject with
   * `ERR_KOAWS_CLOSED`; with the option `resume`, the stream goes on after the reconnect, or rejects
   * with `ERR_KOAWS_STREAM_LOST`, where `error.data.items` is the number of items before the loss.
   * They reject with `ERR_KOAWS_MALFORMED` when the server sends more than the client allowed, with
   * a TypeError for an invalid option, or with the error of loading the code.
   */
  stream<T extends StreamType<P>>(
    this: void,
    type: T,
    ...rest: DataAndOptions<ClientData<P, T>, StreamOptions<UploadGiven<P, T>>>
  ): ClientStream<StreamItem<P, T>, ReplyTaken<P, T>>
  /**
   * Sends a request with a stream of items, and resolves with its reply. Iterates `source` once, as
   * far as the server grants credit, and calls its `return()` when the request ends early.
   *
   * Rejects as `request()` does, with the error of the source, or with a TypeError for an item
   * without a JSON form. Then, and after `signal` or a timeout, the server learns that the request
   * is canceled. An upload that the end of the connection interrupts rejects with
   * `ERR_KOAWS_CLOSED`.
   *
   * @param type the name of the message
   * @param data the data of the request; undefined for a type without data
   * @param source the items: any iterable or async iterable
   * @param options timeout and signal
   */
  upload<T extends UploadType<P>>(
    this: void,
    type: T,
    data: ClientData<P, T>,
    source: Source<UploadGiven<P, T>>,
    options?: UploadOptions,
  ): Promise<ReplyTaken<P, T>>
  /**
   * Connects now if the client is waiting, and starts again if it is stopped. Otherwise does
   * nothing.
   */
  open(this: void): void
  /**
   * Stops the client: no connection, timer or listener of the page remains. Requests reject with
   * `ERR_KOAWS_CLOSED`. A second call does nothing.
   *
   * @param code 1000, or 3000 to 4999. Default 1000
   * @param reason at most 123 bytes of UTF-8
   * @throws RangeError for another code, or a longer reason
   */
  close(this: void, code?: number, reason?: string): void
}
