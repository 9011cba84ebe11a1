import { mulberry32 } from '../order.ts'

interface Event {
  readonly at: number
  readonly no: number
  readonly run: () => void
}

/** Simulated time: events in order, and random numbers that a seed decides. */
export class Schedule {
  now = 0
  steps = 0
  readonly random: () => number
  /** A heap: an event is never later than the two at twice its index. */
  readonly #events: Event[] = []
  #no = 0

  constructor(seed: number) {
    this.random = mulberry32(seed)
  }

  int(below: number): number {
    return Math.floor(this.random() * below)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)] as T
  }

  /** Returns the time of one way between two processes; at times a long one. */
  delay(): number {
    return this.random() < 0.06 ? 20 + this.random() * 200 : 1 + this.random() * 8
  }

  after(delay: number, run: () => void): void {
    const event = { at: this.now + delay, no: this.#no++, run }
    const events = this.#events
    let index = events.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (isBefore(events[parent] as Event, event)) break
      events[index] = events[parent] as Event
      index = parent
    }
    events[index] = event
  }

  /** Runs an action again and again, at random intervals, until a time. */
  often(every: number, until: number, run: () => void): void {
    const again = (): void => {
      if (this.now > until) return
      run()
      this.after(this.random() * 2 * every, again)
    }
    this.after(this.random() * every, again)
  }

  /** Runs the events until a time. */
  run(until: number, most: number): void {
    for (let event = this.#next(); event && event.at <= until; event = this.#next()) {
      this.now = event.at
      if (++this.steps > most) throw new Error(`more than ${most} steps`)
      event.run()
    }
  }

  #next(): Event | undefined {
    const events = this.#events
    const [first] = events
    const last = events.pop()
    if (!last || events.length === 0) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= events.length) break
      const other = events[child + 1]
      if (other && isBefore(other, events[child] as Event)) child++
      if (isBefore(last, events[child] as Event)) break
      events[index] = events[child] as Event
      index = child
    }
    events[index] = last
    return first
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.no < b.no)
}
