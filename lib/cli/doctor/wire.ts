// An accepted WebSocket of the doctor: pings, fragments, and its end.

import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import { FrameReader, maskedFrame, Opcode } from './frames.ts'

/** The end of a connection. */
export interface End {
  /** The code of the close frame; 1006 without a frame, 1005 for a frame without a code. */
  readonly code: number
  /** Text from the server. */
  readonly reason: string
  /** The problem with the bytes of the server, if that was the end. */
  readonly problem: string | null
}

/** Pongs for a server that does not read would fill the memory. */
const MOST_WAITING = 65_536

/** An accepted WebSocket. Its end always comes: by the server, by `close()`, or by the deadline. */
export class Wire {
  /** Settles at the close frame, or at the end of the socket. */
  readonly ended: Promise<End>
  /** The end, once it has come. */
  end: End | null = null
  /** The pings of the server. */
  pings = 0
  /** The data frames of the server. */
  frames = 0
  readonly #socket: Duplex
  readonly #reader: FrameReader
  readonly #pongs = new Map<string, (at: number | null) => void>()
  #settle: (end: End) => void = () => {}
  #next = 0
  #closing = false

  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#reader = new FrameReader({
      control: (opcode, payload) => this.#control(opcode, payload),
      data: () => {
        this.frames++
      },
    })
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => socket.destroy())
    socket.on('close', () => this.#finish({ code: 1006, reason: '', problem: null }))
    if (head.length > 0) this.#read(head)
    socket.resume()
  }

  /** Sends a ping. Resolves with the milliseconds to its pong; null when none came in time. */
  ping(patience: number): Promise<number | null> {
    const payload = `koaws doctor ${++this.#next}`
    const started = performance.now()
    return new Promise((resolve) => {
      if (this.end) return resolve(null)
      const timer = setTimeout(() => this.#pongs.get(payload)?.(null), patience)
      this.#pongs.set(payload, (at) => {
        clearTimeout(timer)
        this.#pongs.delete(payload)
        resolve(at === null ? null : at - started)
      })
      this.#send(Opcode.ping, Buffer.from(payload))
    })
  }

  /** Sends a part of one binary message that never ends, so that no application receives it. */
  sendPart(bytes: number, first: boolean): void {
    this.#send(first ? Opcode.binary : Opcode.continuation, Buffer.alloc(bytes), false)
  }

  /** Closes with 1000. Resolves with the end; null without a close frame in time. */
  async close(patience: number): Promise<End | null> {
    if (!this.end) {
      this.#closing = true
      this.#send(Opcode.close, Buffer.from([0x03, 0xe8]))
    }
    const end = await this.endWithin(patience)
    this.destroy()
    return end
  }

  /** Waits for the end. Resolves with null when it does not come in time. */
  async endWithin(patience: number): Promise<End | null> {
    const { promise, stop } = timeout(patience)
    const end = await Promise.race([this.ended, promise])
    stop()
    return end
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  #send(opcode: number, payload: Buffer, fin = true): void {
    if (!this.#socket.destroyed && this.#socket.writable)
      this.#socket.write(maskedFrame(opcode, payload, fin))
  }

  #read(chunk: Buffer): void {
    if (this.end) return
    const problem = this.#reader.push(chunk)
    if (problem === null) return
    this.#finish({ code: 1006, reason: '', problem })
    this.#socket.destroy()
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === Opcode.pong) this.#pongs.get(payload.toString())?.(performance.now())
    if (opcode === Opcode.ping) {
      this.pings++
      if (this.#socket.writableLength < MOST_WAITING) this.#send(Opcode.pong, payload)
    }
    if (opcode !== Opcode.close || this.end) return
    const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0)
    if (!this.#closing) this.#send(Opcode.close, payload.subarray(0, 2))
    this.#finish({ code, reason: payload.toString('utf8', 2), problem: null })
    this.#socket.end()
  }

  #finish(end: End): void {
    if (this.end) return
    this.end = end
    this.#settle(end)
    for (const settle of [...this.#pongs.values()]) settle(null)
  }
}

/** Returns a promise that resolves with null after some milliseconds, and its stop. */
export function timeout(ms: number): { promise: Promise<null>; stop: () => void } {
  let timer: NodeJS.Timeout | undefined
  const promise = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null)
  })
  return { promise, stop: () => clearTimeout(timer) }
}
