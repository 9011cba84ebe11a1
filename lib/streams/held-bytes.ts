// `HeldBytes`: the bytes that all streams of an instance hold.
import { streamFault } from './faults.ts'

/** Counts the bytes that the streams of one instance hold, up to a limit. */
export class HeldBytes {
  readonly #most: number
  readonly #makeRoom: (bytes: number) => void
  readonly #refused: () => void
  #total = 0

  /**
   * @param makeRoom called at the limit: it gives this number of bytes back, if it can
   * @param refused called with each refusal
   */
  constructor(most: number, makeRoom: (bytes: number) => void, refused: () => void) {
    this.#most = most
    this.#makeRoom = makeRoom
    this.#refused = refused
  }

  get total(): number {
    return this.#total
  }

  /**
   * Adds bytes, or with a negative number gives them back.
   * @throws MessageError `ERR_KOAWS_STREAM_MEMORY` beyond the limit
   */
  add(bytes: number): void {
    const excess = bytes > 0 ? this.#total + bytes - this.#most : 0
    if (excess > 0) this.#makeRoom(excess)
    if (bytes > 0 && this.#total + bytes > this.#most) {
      this.#refused()
      throw streamFault('ERR_KOAWS_STREAM_MEMORY')
    }
    this.#total += bytes
  }
}
