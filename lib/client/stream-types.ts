// The types of streams, which the core and the part `streams.ts` share.
import type { LocalCode, RequestError } from './errors.ts'
import type { Outgoing } from './outgoing.ts'
import type { Pending, Requests } from './requests.ts'

/** The options of an upload. */
export interface UploadOptions {
  /**
   * How long the server may send nothing about the request while the client waits for it, in
   * milliseconds. Time without a connection counts; time in which the client waits for the
   * application does not. @default 120_000
   */
  timeout?: number | undefined
  /** Cancels the request and rejects it with the signal's reason. */
  signal?: AbortSignal | undefined
}

/**
 * The options of a stream.
 *
 * @typeParam Given an item of the option `upload`
 */
export interface StreamOptions<Given = unknown> extends UploadOptions {
  /**
   * Whether the stream goes on after a reconnect. The server decides how long it keeps a stream
   * without a connection. Not possible together with `upload`. @default false
   */
  resume?: boolean | undefined
  /**
   * How many bytes of items may wait in the client, from 1 to 245,760, and one item beyond it. The
   * server waits when the application does not read. @default 65_536
   */
  credit?: number | undefined
  /** The items that the client sends during the stream. The client iterates it once. */
  upload?: Source<Given> | undefined
}

/** The items of an upload. The client calls its `return()` when the request ends early. */
export type Source<Given> = AsyncIterable<Given> | Iterable<Given>

/**
 * A stream of the server: its items, and the reply after them. Only one loop can read it. Leaving
 * the loop cancels the request.
 */
export interface ClientStream<Item = unknown, Reply = unknown> {
  /**
   * Resolves with the reply when it arrives, even if the application has not read all items. Rejects
   * with the error of the stream, with the code `ERR_KOAWS_CANCELLED` after `return()`, or with the
   * reason of the signal. A rejection is never unhandled.
   */
  readonly reply: Promise<Reply>
  /**
   * Resolves with the next item. Calls before the item arrives are answered in order. Rejects with
   * the error of the stream after the last item.
   */
  next(this: void): Promise<IteratorResult<Item, undefined>>
  /** Cancels the request, and ends the iteration. `break` in a loop calls it. */
  return(this: void): Promise<IteratorResult<Item, undefined>>
  /** Returns the stream itself. */
  [Symbol.asyncIterator](): ClientStream<Item, Reply>
}

/** What the core of a client gives the part `streams.ts`, which is another file in a page. */
export interface StreamEngine {
  /** Returns the next request id. */
  nextId(): number
  /** Waits for an answer, the timeout, the signal or the end of the client. */
  readonly ask: Requests['ask']
  /** The pending requests and streams by id, in order. */
  readonly pending: Map<unknown, Pending>
  /**
   * Sends a request, or queues it.
   *
   * @throws RequestError `ERR_KOAWS_TOO_LARGE`, `ERR_KOAWS_CLOSED` or `ERR_KOAWS_QUEUE_FULL`
   */
  launch(item: Outgoing): void
  /** Removes a request from the queue. */
  forget(item: Outgoing): void
  /**
   * Sends a part of a stream if the connection is open.
   *
   * @throws RequestError `ERR_KOAWS_TOO_LARGE`
   */
  post(item: Omit<Outgoing, 'fail'>): unknown
  /** For `JSON.stringify`: asserts that it keeps the objects in data. */
  keep(key: string, value: unknown): unknown
  /** Makes an error of the client itself. */
  localError(
    item: Omit<Outgoing, 'fail'>,
    code: LocalCode,
    why: string,
    status?: number,
  ): RequestError
  /** Makes an error from the error object of the server. */
  remoteError(error: unknown, type: unknown): RequestError
}

/** A request that begins a stream. */
export interface StreamRequest {
  readonly type: string
  /** The message, without id. */
  readonly text: string
  readonly options: StreamOptions
  /** Whether the server sends items. */
  readonly receives: boolean
  /** Whether the application has left the stream before the part was loaded. */
  readonly left: boolean
}

/** The function `streams()` of `koaws/client/streams`. Its argument has no stable form. */
export type Streams = (engine: StreamEngine) => (request: StreamRequest) => ClientStream
