// A list of things that wait for the same time, with one timer for all of them.

import { startSharedTimer } from '../connection/shared-timer.ts'

/** So many milliseconds after its time, a timer counts as lost: a test may have taken its fake timers away. */
const LOST_AFTER = 1000

/** Something that waits in a list. The links are its own, so waiting needs no other object. */
export abstract class Waiter {
  list: WaitingList | null = null
  /** On the clock of `performance`. */
  due = 0
  previous: Waiter | null = null
  next: Waiter | null = null

  /** The time has come. It has left the list. */
  abstract expire(): void

  /** Stops waiting. */
  leave(): void {
    this.list?.delete(this)
  }
}

/**
 * Things that wait for about the same time, earliest first. Most leave before their time, so the one
 * timer fires about once in that time, however many come and go. A timer for each would be made and
 * cleared with each handshake.
 */
export class WaitingList {
  #first: Waiter | null = null
  #last: Waiter | null = null
  #timer: NodeJS.Timeout | undefined
  #wakesAt = Infinity

  /** @param delay in milliseconds; usually the same for all, so that the new one is the last */
  add(waiter: Waiter, delay: number): void {
    waiter.leave()
    const now = performance.now()
    waiter.list = this
    waiter.due = now + delay
    let previous = this.#last
    while (previous !== null && previous.due > waiter.due) previous = previous.previous
    this.#link(previous, waiter, previous === null ? this.#first : previous.next)
    if (waiter.due < this.#wakesAt || now > this.#wakesAt + LOST_AFTER)
      this.#wakeAt(waiter.due, now)
  }

  delete(waiter: Waiter): void {
    const { previous, next } = waiter
    if (previous === null) this.#first = next
    else previous.next = next
    if (next === null) this.#last = previous
    else next.previous = previous
    waiter.list = waiter.previous = waiter.next = null
  }

  #link(previous: Waiter | null, waiter: Waiter, next: Waiter | null): void {
    waiter.previous = previous
    waiter.next = next
    if (previous === null) this.#first = waiter
    else previous.next = waiter
    if (next === null) this.#last = waiter
    else next.previous = waiter
  }

  #wakeAt(due: number, now: number): void {
    clearTimeout(this.#timer)
    this.#wakesAt = due
    this.#timer = startSharedTimer<WaitingList>(wake, Math.max(1, Math.ceil(due - now)), this)
  }

  /** The timer has fired. */
  wake(): void {
    this.#wakesAt = Infinity
    const now = performance.now()
    try {
      for (let waiter = this.#first; waiter !== null && waiter.due <= now; waiter = this.#first) {
        this.delete(waiter)
        waiter.expire()
      }
    } finally {
      if (this.#first !== null) this.#wakeAt(this.#first.due, now)
    }
  }
}

function wake(list: WaitingList): void {
  list.wake()
}
