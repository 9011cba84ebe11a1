// `Expiring`: a map that forgets each entry a fixed time after it was set.

/** A map that forgets each entry a fixed time after it was set. */
export class Expiring<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly until: number }>()
  readonly #lifetime: number
  readonly #forgotten: (value: V) => void
  #timer: NodeJS.Timeout | undefined

  /** @param lifetime in milliseconds @param forgotten called with each value that expires */
  constructor(lifetime: number, forgotten: (value: V) => void = () => {}) {
    this.#lifetime = lifetime
    this.#forgotten = forgotten
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    this.#purge()
    return this.#entries.get(key)?.value
  }

  /** Sets an entry. An entry with this key MUST NOT exist: the entries are in order of their end. */
  set(key: string, value: V): void {
    this.#entries.set(key, { value, until: performance.now() + this.#lifetime })
    if (!this.#timer) this.#wait(this.#lifetime)
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#entries.clear()
  }

  #purge(): void {
    const now = performance.now()
    for (const [key, { value, until }] of this.#entries) {
      if (until > now) return
      this.#entries.delete(key)
      this.#forgotten(value)
    }
  }

  #wait(delay: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#purge()
      const [first] = this.#entries.values()
      if (first) this.#wait(Math.max(1_000, first.until - performance.now()))
    }, delay)
    this.#timer.unref()
  }
}
