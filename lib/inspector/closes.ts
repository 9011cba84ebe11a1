// Keeps the latest connections that have ended, with their reasons.

import type { CloseEvent } from '../index.ts'
import type { Members } from './members.ts'
import { cut } from './reading.ts'
import { Latest } from './ring.ts'

/** A connection that has ended. */
export interface Closed {
  readonly id: string
  readonly user: string | null
  readonly ip: string
  readonly path: string
  readonly openedAt: number
  /** When it ended, in epoch milliseconds. */
  readonly at: number
  readonly code: number
  readonly reason: string
  readonly clean: boolean
}

const MOST = 200

/** The latest ends of one hub. */
export class Closes {
  readonly #members: Members
  readonly #latest = new Latest<Closed>(MOST)

  constructor(members: Members) {
    this.#members = members
  }

  /** Newest first. */
  get all(): Closed[] {
    return this.#latest.all.toReversed()
  }

  find(id: string): Closed | undefined {
    return this.#latest.findLast((closed) => closed.id === id)
  }

  ended({ connection, code, reason, clean }: CloseEvent): void {
    if (!this.#members.has(connection)) return
    const { id, userId, ip, path, openedAt } = connection
    const user = userId === undefined ? null : cut(userId)
    const at = Date.now()
    const where = { ip: cut(ip), path: cut(path), openedAt }
    this.#latest.add({ id, user, ...where, at, code, reason: cut(reason), clean })
  }
}
