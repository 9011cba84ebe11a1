// A list that keeps only its latest items.

/** Keeps the latest items, oldest first. */
export class Latest<T> {
  readonly #most: number
  readonly #items: T[] = []
  /** Where the oldest item is once the list is full. */
  #oldest = 0

  constructor(most: number) {
    this.#most = most
  }

  add(item: T): void {
    if (this.#items.length < this.#most) {
      this.#items.push(item)
      return
    }
    this.#items[this.#oldest] = item
    this.#oldest = (this.#oldest + 1) % this.#most
  }

  /** Returns the items, oldest first. */
  get all(): T[] {
    return [...this.#items.slice(this.#oldest), ...this.#items.slice(0, this.#oldest)]
  }

  /** Returns the last item that fits. */
  findLast(fits: (item: T) => boolean): T | undefined {
    return this.all.findLast(fits)
  }
}
