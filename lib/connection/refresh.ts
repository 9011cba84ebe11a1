// Gives an open connection another authorization: `connection.refresh()`.

import { CloseCode } from '../protocol/close-codes.ts'
import { epochMilliseconds } from './expiry.ts'
import { type WebSocketWithFacts, writeState } from './facts.ts'
import type { Refresh } from './types.ts'

/** The part of a connection's inside that another authorization changes. */
interface Refreshed {
  readonly connection: WebSocketWithFacts<unknown>
  expireAt(at: number | null): void
  closeForCause(code: number, reason: string): void
}

/** @throws TypeError when `expiresAt` is no Date, epoch milliseconds or null */
export function refreshConnection(core: Refreshed, given: Refresh<unknown>): void {
  const { state, expiresAt, userId } = given
  const at = expiresAt === undefined ? undefined : epochMilliseconds(expiresAt)
  if (userId !== undefined && String(userId) !== core.connection.userId) {
    core.closeForCause(CloseCode.otherUser, 'another user')
    return
  }
  if (state !== undefined) writeState(core.connection, state)
  if (at !== undefined) core.expireAt(at)
}
