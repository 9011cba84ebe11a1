// The time that an upgrade has, and then the progress of its answer.

import type { Duplex } from 'node:stream'
import { hasMoved, type Progress, progressOf } from '../connection/taken.ts'
import { Waiter, WaitingList } from './waiting-list.ts'

/** What ends at a deadline. */
interface Waiting {
  readonly socket: Duplex
  /** The deadline has passed. */
  expire(): void
}

/** One list for each timeout: the values of the option `handshakeTimeout`. */
const lists = new Map<number, WaitingList>()

/** The time that an upgrade has until it is decided, and then the progress of its answer. */
export class Deadline extends Waiter {
  readonly #waiting: Waiting
  #timeout = 0
  #progress: Progress | null = null

  constructor(waiting: Waiting) {
    super()
    this.#waiting = waiting
  }

  /** Expire this many milliseconds after `since`, a time of `Date.now()`. */
  set(timeout: number, since: number): void {
    if (this.#timeout === timeout) return
    this.#timeout = timeout
    this.#start(Math.max(0, since + timeout - Date.now()))
  }

  /** Whether the socket has stood still for one timeout, although data waits. If not, look again. */
  hasStalled(): boolean {
    const before = this.#progress
    const now = progressOf(this.#waiting.socket)
    if (before && now.waiting > 0 && !hasMoved(before, now)) return true
    this.#progress = now
    this.#start(this.#timeout)
    return false
  }

  override expire(): void {
    this.#waiting.expire()
  }

  #start(milliseconds: number): void {
    let list = lists.get(this.#timeout)
    if (!list) {
      list = new WaitingList()
      lists.set(this.#timeout, list)
    }
    list.add(this, milliseconds)
  }
}
