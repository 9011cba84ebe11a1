// The missed messages that a client is sent at once: their frames are joined without an object for each.

import { headerSize, payloadAt, TEXT, writeHeader } from '../connection/frame.ts'
import type { Place } from './store.ts'

const FIRST = 128 * 1024

/** Joins text messages of one room. One serves all replays: what it joins is taken in the same call. */
export class Part {
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #room = ''
  #epoch = ''
  /** What messages of this room and epoch begin with. */
  #begin: Buffer = Buffer.alloc(0)

  /** In bytes, headers included. */
  get size(): number {
    return this.#at
  }

  /**
   * Adds a message with its place, as `placedText()` gives it.
   *
   * @param frame the frame of the message without its place: a JSON object
   */
  add(room: string, { epoch, offset, key }: Place, frame: Buffer): void {
    if (room !== this.#room || epoch !== this.#epoch) this.#change(room, epoch)
    const begin = this.#begin
    const rest = `${offset}.${key}",`
    const brace = payloadAt(frame)
    const length = begin.length + rest.length + frame.length - brace - 1
    this.#need(headerSize(length) + length)
    const bytes = this.#bytes
    const start = this.#at + headerSize(length)
    const end = start + length
    // The whole frame; its header and brace are overwritten. A view of the rest would cost more.
    bytes.set(frame, end - frame.length)
    writeHeader(bytes, this.#at, TEXT, length)
    bytes.set(begin, start)
    const middle = start + begin.length
    for (let i = 0; i < rest.length; i++) bytes[middle + i] = rest.charCodeAt(i)
    this.#at = end
  }

  /** Returns a copy of what was added, and begins anew. */
  take(): Buffer {
    const joined = Buffer.from(this.#bytes.subarray(0, this.#at))
    this.#at = 0
    return joined
  }

  #change(room: string, epoch: string): void {
    this.#room = room
    this.#epoch = epoch
    this.#begin = Buffer.from(`{"room":${JSON.stringify(room)},"position":"${epoch}.`)
  }

  #need(more: number): void {
    const needed = this.#at + more
    if (needed <= this.#bytes.length) return
    const bytes = Buffer.allocUnsafeSlow(Math.max(FIRST, needed))
    this.#bytes.copy(bytes, 0, 0, this.#at)
    this.#bytes = bytes
  }
}
