import type { HistoryClock } from '../../lib/adapters/memory-logs.ts'

interface FakeTimer {
  readonly due: number
  readonly run: () => void
}

/** A clock that a test moves by hand. */
export class FakeClock implements HistoryClock {
  /** The difference of the date to its usual course, in milliseconds. */
  skew = 0
  readonly timers = new Set<FakeTimer>()
  #now = 0

  elapsed(): number {
    return this.#now
  }

  date(): number {
    return 1_796_000_000_000 + this.#now + this.skew
  }

  after(delay: number, run: () => void): () => void {
    const timer = { due: this.#now + delay, run }
    this.timers.add(timer)
    return () => void this.timers.delete(timer)
  }

  /** Moves on, and runs the timers that are due on the way, in order. */
  pass(duration: number): void {
    const end = this.#now + duration
    for (;;) {
      const [first] = [...this.timers].sort((a, b) => a.due - b.due)
      if (!first || first.due > end) break
      this.timers.delete(first)
      this.#now = first.due
      first.run()
    }
    this.#now = end
  }
}
