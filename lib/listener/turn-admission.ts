// Limits the upgrades that begin in one turn of the event loop.

/** The most upgrades of a server that begin in one turn of the event loop. */
const PER_TURN = 32

type Begin = () => void

/**
 * Begins upgrades in order of arrival, a limited number per turn of the event loop. One read from a
 * session may hold a thousand. Sessions take turns, and other sockets are read in between.
 */
export class Admission {
  readonly #waiting = new Map<object, Begin[]>()
  #left = PER_TURN

  /** Begins an upgrade of this session, now or in a later turn. `begin` must not throw. */
  enter(session: object, begin: Begin): void {
    if (this.#left === PER_TURN) setImmediate(() => this.#nextTurn())
    if (this.#left > 0 && this.#waiting.size === 0) {
      this.#left--
      begin()
      return
    }
    const queue = this.#waiting.get(session)
    if (queue) queue.push(begin)
    else this.#waiting.set(session, [begin])
  }

  #nextTurn(): void {
    this.#left = PER_TURN
    if (this.#waiting.size === 0) return
    setImmediate(() => this.#nextTurn())
    while (this.#left > 0 && this.#waiting.size > 0) this.#beginOneOfEach()
  }

  #beginOneOfEach(): void {
    for (const [session, queue] of this.#waiting) {
      if (this.#left <= 0) return
      this.#left--
      // Move the served session to the end, so that the next turn begins with another.
      this.#waiting.delete(session)
      const begin = queue.shift() as Begin
      if (queue.length > 0) this.#waiting.set(session, queue)
      begin()
    }
  }
}
