// Counts the offenses of one client.

/** Offenses count for this long, in milliseconds. */
const WINDOW = 60_000

/** Counts the messages of one client that could not be handled, in windows of a minute. */
export class Offences {
  #count = 0
  #since = 0

  /** Counts one more. Returns true when the count has reached the limit. */
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
