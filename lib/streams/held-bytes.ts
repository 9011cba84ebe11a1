// `HeldBytes`: the bytes that all streams of an instance hold.
import { streamFault } from './faults.ts'

/** Counts the bytes that the streams of one instance hold, up to a limit. */
export class HeldBytes {
  readonly #most: number
  readonly #makeRoom: () => void
  readonly #refused: () => void
  #total = 0

  /**
   * @param makeRoom called at the limit: it may give bytes back
   * @param refused called with each refusal
   */
  constructor(most: number, makeRoom: () => void, refused: () => void) {
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
    if (bytes > 0 && this.#total + bytes > this.#most) this.#makeRoom()
    if (bytes > 0 && this.#total + bytes > this.#most) {
      this.#refused()
      throw streamFault('ERR_KOAWS_STREAM_MEMORY')
    }
    this.#total += bytes
  }
}
