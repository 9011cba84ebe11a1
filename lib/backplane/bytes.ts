// Reads and writes integers and strings as bytes, with checked bounds.

/** The error for bytes that koaws does not write. */
export class Garbage extends Error {}

/** Reads JSON of another instance. @throws Garbage when it is malformed */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Garbage('its JSON is malformed')
  }
}

const FIRST = 64 * 1024

/**
 * Collects bytes: integers as LEB128, strings as UTF-8 after their length. One writer serves all
 * payloads, since encoding is synchronous.
 */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(FIRST)
  #at = 0

  /** Discards the bytes. */
  reset(): void {
    this.#at = 0
    if (this.#bytes.length > FIRST * 16) this.#bytes = Buffer.allocUnsafe(FIRST)
  }

  get length(): number {
    return this.#at
  }

  byte(value: number): void {
    this.#need(1)
    this.#bytes[this.#at++] = value
  }

  integer(value: number): void {
    this.#need(10)
    let rest = value
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#at++] = rest
  }

  string(text: string): void {
    const length = Buffer.byteLength(text)
    this.integer(length)
    this.#need(length)
    this.#at += this.#bytes.write(text, this.#at)
  }

  strings(list: readonly string[]): void {
    this.integer(list.length)
    for (const text of list) this.string(text)
  }

  buffer(bytes: Uint8Array): void {
    this.integer(bytes.length)
    this.#need(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** Returns a copy of the bytes. */
  take(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#at))
  }

  /** Returns a copy that is kept for long: it shares no memory, which it would keep from being freed. */
  takeToKeep(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(this.#at)
    this.#bytes.copy(bytes, 0, 0, this.#at)
    return bytes
  }

  #need(more: number): void {
    const needed = this.#at + more
    if (needed <= this.#bytes.length) return
    const bytes = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(bytes, 0, 0, this.#at)
    this.#bytes = bytes
  }
}

/** Reads the bytes of a `ByteWriter`. Every method throws `Garbage` for invalid bytes. */
export class ByteReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw new Garbage('it is truncated')
    return value
  }

  integer(): number {
    let value = 0
    let factor = 1
    for (;;) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (!(value <= Number.MAX_SAFE_INTEGER)) throw new Garbage('an integer is too large')
      if (byte < 0x80) return value
      factor *= 0x80
    }
  }

  string(): string {
    const start = this.#take()
    return this.#bytes.toString('utf8', start, this.#at)
  }

  strings(): string[] {
    const count = this.integer()
    if (count > this.#bytes.length - this.#at) throw new Garbage('a list is too long')
    return Array.from({ length: count }, () => this.string())
  }

  /** Returns a view, not a copy. */
  buffer(): Buffer {
    const start = this.#take()
    return this.#bytes.subarray(start, this.#at)
  }

  /**
   * Skips a value with a length.
   *
   * @returns the start of the value
   */
  #take(): number {
    const length = this.integer()
    const start = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw new Garbage('it is truncated')
    return start
  }
}
