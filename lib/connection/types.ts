// The types of arguments and results of `Connection`: `CloseInfo`, `Refresh`, and those of its methods.

import type { DefaultState } from 'koa'

/** How a connection ended. */
export interface CloseInfo {
  /** The close code: the peer's, or ours when the peer could not be told any more. */
  readonly code: number
  /** The close reason, at most 123 bytes of UTF-8. */
  readonly reason: string
  /** Whether the closing handshake was completed (RFC 6455, section 7.1.4). */
  readonly clean: boolean
}

/** What `connection.refresh()` takes. */
export interface Refresh<State = DefaultState> {
  /** Replaces `connection.state`. */
  state?: State | undefined
  /** The new end of the authorization: Date, epoch milliseconds, or null for never. */
  expiresAt?: Date | number | null | undefined
  /** The user of the new authorization. Another user than before closes with 4403. */
  userId?: string | number | undefined
}

/** What `connection.send()` takes. */
export type Sendable = string | Buffer | ArrayBuffer | ArrayBufferView

/** How `connection.send()` sends. */
export interface SendOptions {
  /** Whether this is a binary message; by default strings are text and all else is binary. */
  binary?: boolean | undefined
  /** Whether to compress, where compression was negotiated. @default true */
  compress?: boolean | undefined
  /** Whether this is the last fragment of its message. @default true */
  fin?: boolean | undefined
}

/** How `connection.request()` waits. */
export interface RequestOptions {
  /** How long the client has to answer, in milliseconds. @default 10_000 */
  timeout?: number | undefined
  /** Gives up when it aborts. The client is not told. */
  signal?: AbortSignal | undefined
}

/** What `connection.replay()` resolves with. */
export interface Replay {
  /**
   * Whether every missed message is sent, in order. If false, none is. A connection that takes them too slowly, so that
   * some are gone meanwhile, is closed with 4610.
   */
  readonly recovered: boolean
  /** The number of messages that are sent; null if `recovered` is false. */
  readonly missed: number | null
  /**
   * Why `recovered` is false, otherwise null. `expired`, `trimmed`: messages were removed because of their age, or of
   * the size of the history. `epoch`: the history began anew. `ahead`: it has not reached the position. `limit`: too
   * much is being replayed. `slow`: the messages could not be read or sent in time. `left`: the connection left the
   * room, or ended.
   */
  readonly reason: 'expired' | 'trimmed' | 'epoch' | 'ahead' | 'limit' | 'slow' | 'left' | null
}
