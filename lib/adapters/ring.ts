// A queue in a circular array, read by index.

/** Adds at the end and removes at the front, both in constant time. A removed item is released at once. */
export class Ring<T> {
  #slots: (T | undefined)[] = []
  #first = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Returns the item at an index, counted from the oldest; undefined outside of the ring. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#length) return undefined
    return this.#slots[(this.#first + index) & (this.#slots.length - 1)]
  }

  push(item: T): void {
    if (this.#length === this.#slots.length) this.#grow()
    this.#slots[(this.#first + this.#length) & (this.#slots.length - 1)] = item
    this.#length++
  }

  /** Removes the oldest item, and returns it. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const item = this.#slots[this.#first]
    this.#slots[this.#first] = undefined
    this.#first = (this.#first + 1) & (this.#slots.length - 1)
    this.#length--
    if (this.#length === 0) this.#slots = []
    return item
  }

  /** Doubles the array; its length is a power of two. */
  #grow(): void {
    const items = Array.from({ length: this.#length }, (_, index) => this.at(index))
    items.length = Math.max(4, 2 * this.#length)
    this.#slots = items
    this.#first = 0
  }
}
