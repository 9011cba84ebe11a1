/** An event of a simulation, and its time in milliseconds. */
export interface Event {
  readonly at: number
  readonly number: number
  readonly act: () => void
}

/** The events of a simulation, by time. Events of the same time come in the order of their scheduling. */
export class Events {
  now = 0
  readonly #heap: Event[] = []
  #number = 0

  after(delay: number, act: () => void): void {
    this.at(this.now + delay, act)
  }

  at(at: number, act: () => void): void {
    const heap = this.#heap
    const event = { at, number: this.#number++, act }
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (!above || isEarlier(above, event)) break
      heap[index] = above
      index = parent
    }
    heap[index] = event
  }

  /** Takes the next event, and sets the time; undefined if none is left. */
  next(): Event | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (!first || !last) return undefined
    this.now = first.at
    if (heap.length === 0) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      let below = heap[child]
      const right = heap[child + 1]
      if (below && right && isEarlier(right, below)) {
        child++
        below = right
      }
      if (!below || isEarlier(last, below)) break
      heap[index] = below
      index = child
    }
    heap[index] = last
    return first
  }
}

function isEarlier(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.number < other.number)
}

/** Returns a generator of numbers from 0 to 1: the same seed gives the same numbers. */
export function random(seed: number): () => number {
  let state = (Math.imul(seed, 2_654_435_761) + 12_345) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
