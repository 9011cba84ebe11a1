// Holds the queue after an outage until the other instances listen.

/**
 * How long to hold the queue, in milliseconds. When the engine is back, the other instances may
 * still be reconnecting.
 */
const LONGEST = 2_000

/** Holds the queue after an outage until the other instances are heard. */
export class Hold {
  readonly #released: () => void
  /** Instances that have not been heard since; null while nothing is held. */
  #awaited: Set<string> | null = null
  #timer: NodeJS.Timeout | undefined

  /** @param released called when the queue may be published */
  constructor(released: () => void) {
    this.#released = released
  }

  get isHeld(): boolean {
    return this.#awaited !== null
  }

  begin(peers: readonly string[]): void {
    this.#awaited = new Set(peers)
    this.#timer = setTimeout(() => this.release(), LONGEST)
    this.#timer.unref()
    if (peers.length === 0) this.release()
  }

  /** Records that an instance listens or is gone. @returns whether it was awaited */
  heard(peer: string): boolean {
    if (!this.#awaited?.delete(peer)) return false
    if (this.#awaited.size === 0) this.release()
    return true
  }

  release(): void {
    if (!this.#awaited) return
    this.stop()
    this.#released()
  }

  /** Stops holding: the engine is unreachable again, or the instance closes. */
  stop(): void {
    this.#awaited = null
    clearTimeout(this.#timer)
  }
}
