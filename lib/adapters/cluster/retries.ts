// Decides when to reconnect after a stream ended.

/** The shortest and the longest wait before a repeated attempt, in milliseconds. */
const FIRST = 100
const LONGEST = 5_000
/** A stream that lasted this long resets the number of attempts, in milliseconds. */
const STEADY = 10_000

interface Retry {
  attempts: number
  timer: NodeJS.Timeout | null
}

/**
 * Schedules reconnects to instances after their streams ended: at once, and then after waits that
 * double. Jitter keeps two instances from closing each other's streams many times in a second.
 */
export class Retries {
  readonly #retries = new Map<string, Retry>()
  readonly #again: (id: string) => void

  constructor(again: (id: string) => void) {
    this.#again = again
  }

  /**
   * Schedules the next attempt.
   *
   * @param lasted how long the stream had carried payloads, in milliseconds
   * @param least the shortest wait, in milliseconds
   */
  failed(id: string, lasted: number, least = 0): void {
    const retry = this.#retries.get(id) ?? { attempts: 0, timer: null }
    this.#retries.set(id, retry)
    if (lasted >= STEADY) retry.attempts = 0
    const wait = Math.max(least, waitOf(retry.attempts++))
    if (retry.timer) clearTimeout(retry.timer)
    retry.timer = setTimeout(() => {
      retry.timer = null
      this.#again(id)
    }, wait).unref()
  }

  /** Returns whether the next attempt is still to come. */
  isWaiting(id: string): boolean {
    return this.#retries.get(id)?.timer != null
  }

  /**
   * Cancels the attempt of a connected instance. The number of failures stays until the stream has
   * lasted.
   */
  cancel(id: string): void {
    const retry = this.#retries.get(id)
    if (!retry?.timer) return
    clearTimeout(retry.timer)
    retry.timer = null
  }

  /** Forgets an instance that will not come back. */
  forget(id: string): void {
    this.cancel(id)
    this.#retries.delete(id)
  }

  clear(): void {
    for (const id of [...this.#retries.keys()]) this.forget(id)
  }
}

/**
 * Returns the wait before an attempt, in milliseconds.
 *
 * @param attempts the number of earlier attempts
 */
export function waitOf(attempts: number): number {
  if (attempts === 0) return 0
  const longest = Math.min(LONGEST, FIRST * 2 ** (attempts - 1))
  return longest / 2 + (Math.random() * longest) / 2
}
