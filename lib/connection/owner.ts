import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import type { CloseInfo } from './types.ts'

/** Whom a connection `C` belongs to: told of its end and of its errors, and keeper of the rooms. */
export interface ConnectionOwner<C> {
  /** Called before the `close` event: the connection can no longer be reached. */
  unreachable(connection: C): void
  /** Called after the `close` event. */
  ended(connection: C, info: CloseInfo): void
  /** A handler or listener threw. */
  failed(connection: C, error: Error): void
  /** So many messages were discarded because nobody listened, or after we had closed. */
  unheard(count: number): void
  join(connection: C, rooms: readonly string[]): Promise<void>
  leave(connection: C, rooms: readonly string[]): void
  roomsOf(connection: C): ReadonlySet<string>
}

/** The facts of the handshake that a connection is made with. */
export interface ConnectionFacts<C> {
  readonly id: string
  readonly userId: string | undefined
  readonly state: unknown
  readonly ip: string
  /** Path and query of the request. */
  readonly url: string
  readonly params: Readonly<Record<string, string>>
  readonly expiresAt: number | null
  readonly socket: Duplex
  readonly owner: ConnectionOwner<C>
  readonly scope: AsyncResource | null
}
