// Remembers recent closes and leaves, for connections that are not let in yet.

import { performance } from 'node:perf_hooks'
import type { Change, Target } from '../backplane/order.ts'

/** A connection that is about to be let in. */
export interface Arriving {
  readonly userId: string | undefined
  readonly rooms: readonly string[]
  /** When its handshake or token check began, on the clock of `performance`. */
  readonly since: number
}

/** The effect of the remembered orders on a connection that arrives. */
export interface Verdict {
  /** How to close it; null when it may be let in. */
  readonly close: { readonly code: number; readonly reason: string } | null
  /** The rooms that it may still join. */
  readonly rooms: readonly string[]
}

/** The most names that are remembered, which bounds the memory. */
const MOST_NAMES = 10_000
/** For an arrival older than the oldest remembered order, which may have concerned it. */
const TRY_AGAIN = { code: 1013, reason: 'try again' }

interface Remembered {
  readonly at: number
  readonly order: Change
}

/**
 * Recent orders to close and to leave. The chain checks a login before the connection exists, so an
 * order in between must also apply to that connection.
 */
export class Revocations {
  readonly #patience: number
  #log: Remembered[] = []
  #names = 0
  /** When the latest forgotten order was carried out. */
  #forgotten = -1

  /** @param patience the longest time that a handshake takes, in milliseconds */
  constructor(patience: number) {
    this.#patience = patience
  }

  add(order: Change): void {
    if (order.target.kind === 'connections') return // such a connection already exists
    const at = performance.now()
    this.#log.push({ at, order })
    this.#names += weightOf(order)
    this.#forget(at - this.#patience)
  }

  /** Returns the effect of the remembered orders on a connection since its arrival began. */
  verdict({ userId, rooms, since }: Arriving): Verdict {
    const isTooOld = since <= this.#forgotten
    let left = rooms
    for (let i = this.#log.length - 1; i >= 0; i--) {
      const { at, order } = this.#log[i] as Remembered
      if (at < since) break
      if (!concerns(order.target, userId, rooms)) continue
      if (order.type === 'close') {
        const { code, reason } = order
        return { close: { code, reason }, rooms: [] }
      }
      left = left.filter((name) => !order.rooms.includes(name))
    }
    return { close: isTooOld ? TRY_AGAIN : null, rooms: left }
  }

  #forget(before: number): void {
    const log = this.#log
    let gone = 0
    while (gone < log.length) {
      const { at, order } = log[gone] as Remembered
      if (at >= before && this.#names <= MOST_NAMES) break
      this.#names -= weightOf(order)
      this.#forgotten = at
      gone++
    }
    if (gone > 0) log.splice(0, gone)
  }
}

/** Returns whether a connection with this user and these rooms would be in the audience. */
export function concerns(
  { kind, names, exceptUsers }: Target,
  userId: string | undefined,
  rooms: readonly string[],
): boolean {
  if (userId !== undefined && exceptUsers.includes(userId)) return false
  if (kind === 'all') return true
  if (kind === 'users') return userId !== undefined && names.includes(userId)
  return kind === 'rooms' && rooms.some((room) => names.includes(room))
}

function weightOf({ target, ...order }: Change): number {
  return 1 + target.names.length + (order.type === 'leave' ? order.rooms.length : 0)
}
