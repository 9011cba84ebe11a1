/** Offences count for so long, in milliseconds. */
const WINDOW = 60_000

/** How often one client has sent what cannot be handled, within the last minute or so. */
export class Offences {
  #count = 0
  #since = 0

  /** One more; true when that is as many as are allowed. */
  add(most: number): boolean {
    const now = performance.now()
    if (now - this.#since > WINDOW) {
      this.#count = 0
      this.#since = now
    }
    this.#count++
    return this.#count >= most
  }
}
