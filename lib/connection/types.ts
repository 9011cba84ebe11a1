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
  /** The new end of the authorisation: Date, epoch milliseconds, or null for never. */
  expiresAt?: Date | number | null | undefined
  /** Whom the new authorisation is for; another user than before closes with 4403. */
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
