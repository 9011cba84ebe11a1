import type {
  ClientData,
  ClientType,
  DataAndOptions,
  PushData,
  ReplyGiven,
  ReplyTaken,
  ServerRequestType,
  ServerType,
} from '../protocol/definition.ts'
import type { PresenceData } from '../protocol/presence.ts'
import type { RequestOptions } from './requests.ts'
import type { ClientState } from './store.ts'

/** What may be said of a push. */
export interface PushOptions {
  /** Whether it may wait for a connection. @default true */
  queue?: boolean | undefined
}

/**
 * What came of a push: `sent` on an open connection, `queued` until there is one, or `dropped`,
 * because the client is stopped, or it may not wait, or too much waits already.
 */
export type PushResult = 'sent' | 'queued' | 'dropped'

/** Data of `koaws:resync`: `docs/protocol.md`, section 3.4. */
export interface Resync {
  readonly room: string | null
}

/** What a listener returns: the answer, where the type is one that is answered. */
export type ListenerResult<D, T> = string extends keyof D
  ? unknown
  : T extends ServerRequestType<D>
    ? ReplyGiven<D, T> | Promise<ReplyGiven<D, T>>
    : unknown

/**
 * One client, over as many connections as it takes. Every method may be taken off it:
 * `const { subscribe } = client`.
 */
export interface Client<D> {
  /** How it is. A new frozen object after each change, so it may be compared by identity. */
  readonly state: ClientState
  /** Call `fn` after each change of `state`. Connects, if nothing did so far. Returns what ends it. */
  subscribe(this: void, fn: () => void): () => void
  /**
   * Listen to a type of the server. Connects, if nothing did so far. Returns what ends it. For a
   * request of the server, what the first listener of the type returns, or its promise, is the
   * answer; what it throws is one too, if it has `code` and `status` (see `RequestError`), otherwise
   * the server learns no more than `internal`.
   */
  on<T extends ServerType<D>>(
    this: void,
    type: T,
    fn: (data: PushData<D, T>) => ListenerResult<D, T>,
  ): () => void
  /** Something that was sent to a room, or with null to this client itself, did not arrive: ask anew. */
  on(this: void, type: 'koaws:resync', fn: (data: Resync) => unknown): () => void
  /** Who is in a room: all of them first, then what changes. */
  on(this: void, type: 'koaws:presence', fn: (data: PresenceData) => unknown): () => void
  /**
   * Send a message that is not answered. Connects, if nothing did so far. What is queued is sent in
   * order, before anything newer; when the client stops first, `onError` is told of each.
   *
   * @throws TypeError for a bad type, or data without a JSON form
   * @throws RequestError `ERR_KOAWS_TOO_LARGE` for more than the server takes, if that is known
   */
  push<T extends ClientType<D>>(
    this: void,
    type: T,
    ...rest: DataAndOptions<ClientData<D, T>, PushOptions>
  ): PushResult
  /**
   * Send a message and get its answer. Connects, if nothing did so far; waits for a connection in
   * the queue of the pushes. Always settles: rejects with a `RequestError` of the server's, or with
   * `ERR_KOAWS_TIMEOUT`, `ERR_KOAWS_CLOSED`, `ERR_KOAWS_QUEUE_FULL` or `ERR_KOAWS_TOO_LARGE`; with a
   * TypeError for a bad type or data without a JSON form; or with the reason of the signal. If `sent`
   * is true in the error, it may have been carried out.
   */
  request<T extends ClientType<D>>(
    this: void,
    type: T,
    ...rest: DataAndOptions<ClientData<D, T>, RequestOptions>
  ): Promise<ReplyTaken<D, T>>
  /** Connect now, when waiting; begin anew, when stopped; otherwise nothing. */
  open(this: void): void
  /**
   * Stop: no connection, no timer and no listener of the page remains. Requests reject with
   * `ERR_KOAWS_CLOSED`. Closing again does nothing.
   *
   * @param code 1000, or 3000 to 4999. Default 1000
   * @param reason at most 123 bytes of UTF-8
   * @throws RangeError for another code, or a longer reason
   */
  close(this: void, code?: number, reason?: string): void
}
