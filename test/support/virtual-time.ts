interface VirtualTimer {
  due: number
  readonly number: number
  readonly delay: number
  readonly act: () => void
}

/** Replaces timers, the date and `Math.random()`, so that minutes pass in a moment, and always in the same way. */
export class VirtualTime {
  now = 1_000_000
  /** How many timers of the code under test are set. Those of `after()` do not count. */
  get timers(): number {
    return this.#timers.size
  }
  readonly #timers = new Map<number, VirtualTimer>()
  readonly #events = new Map<number, VirtualTimer>()
  #number = 0

  /** Replaces the globals. Returns a function that restores them. */
  install(random: () => number): () => void {
    const { setTimeout, clearTimeout } = globalThis
    const { now } = Date
    const { random: before } = Math
    const set = (act: (...args: unknown[]) => void, delay = 0, ...args: unknown[]): object =>
      this.#handle(this.#add(this.#timers, delay, () => act(...args)))
    const clear = (handle: { number?: number } | undefined): void => {
      if (handle?.number !== undefined) this.#timers.delete(handle.number)
    }
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear })
    Date.now = () => this.now
    Math.random = random
    return () => {
      Object.assign(globalThis, { setTimeout, clearTimeout })
      Date.now = now
      Math.random = before
    }
  }

  /** Schedules an event of the test. */
  after(delay: number, act: () => void): void {
    this.#add(this.#events, delay, act)
  }

  /** Resolves after a while. */
  pass(delay: number): Promise<void> {
    return new Promise((resolve) => this.after(delay, resolve))
  }

  /** Runs what is due next. Returns false if nothing is. */
  step(): boolean {
    let next: VirtualTimer | undefined
    for (const timers of [this.#events, this.#timers]) {
      for (const timer of timers.values()) {
        const isEarlier =
          !next || timer.due < next.due || (timer.due === next.due && timer.number < next.number)
        if (isEarlier) next = timer
      }
    }
    if (!next) return false
    this.#events.delete(next.number)
    this.#timers.delete(next.number)
    this.now = Math.max(this.now, next.due)
    next.act()
    return true
  }

  #add(timers: Map<number, VirtualTimer>, delay: number, act: () => void): VirtualTimer {
    const number = ++this.#number
    const timer = { due: this.now + Math.max(0, delay), number, delay, act }
    timers.set(number, timer)
    return timer
  }

  #handle(timer: VirtualTimer): object {
    const handle = {
      number: timer.number,
      ref: () => handle,
      unref: () => handle,
      refresh: () => {
        timer.due = this.now + timer.delay
        this.#timers.set(timer.number, timer)
        return handle
      },
    }
    return handle
  }
}
