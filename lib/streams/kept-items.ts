// `KeptItems`: the items of a stream that its client may not have received.
import type { HeldBytes } from './held-bytes.ts'

interface Kept {
  readonly json: string
  readonly size: number
}

/** The last items of a stream, by index. */
export class KeptItems {
  readonly #held: HeldBytes
  readonly #items: Kept[] = []
  #first = 0
  #bytes = 0
  /** The bytes of the answer. */
  #answer = 0

  constructor(held: HeldBytes) {
    this.#held = held
  }

  /** The index of the first kept item. */
  get first(): number {
    return this.#first
  }

  /** The number of items so far: the index of the next. */
  get end(): number {
    return this.#first + this.#items.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @throws MessageError `ERR_KOAWS_STREAM_MEMORY` beyond the limit of the instance */
  add(json: string, size: number): void {
    this.#held.add(size)
    this.#items.push({ json, size })
    this.#bytes += size
  }

  /** An item was sent that is not kept. */
  skip(): void {
    this.#first++
  }

  /** Returns an item that is kept. */
  at(index: number): Kept {
    return this.#items[index - this.#first] as Kept
  }

  /** Forgets the items before this index. */
  forget(end: number): void {
    const gone = this.#items.splice(0, Math.max(0, end - this.#first))
    if (gone.length === 0) return
    this.#first += gone.length
    let bytes = 0
    for (const { size } of gone) bytes += size
    this.#bytes -= bytes
    this.#held.add(-bytes)
  }

  /** Counts the answer, too. Returns false beyond the limit of the instance. */
  addAnswer(json: string): boolean {
    const size = Buffer.byteLength(json)
    try {
      this.#held.add(size)
    } catch {
      return false
    }
    this.#answer += size
    return true
  }

  /** Forgets everything. */
  clear(): void {
    this.forget(this.end)
    this.#held.add(-this.#answer)
    this.#answer = 0
  }
}
