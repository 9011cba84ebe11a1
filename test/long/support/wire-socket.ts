import { connect, type Socket } from 'node:net'
import { frame, KEY } from '../../support/raw.ts'

/** The callbacks of a `WireSocket`. */
export interface WireOwner {
  opened(): void
  /** A text message has arrived. */
  heard(text: string): void
  closed(): void
}

const PING = 9
const CLOSE = 8

/**
 * A WebSocket client that costs little, so that thousands of them leave the processor to the server. It reads
 * complete text frames, and answers pings; it checks nothing.
 */
export class WireSocket {
  readonly #socket: Socket
  readonly #owner: WireOwner
  #rest: Buffer | null = null
  #isOpen = false
  #isMuted = false

  constructor(port: number, path: string, subprotocols: string, owner: WireOwner) {
    this.#owner = owner
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const offer = subprotocols && `Sec-WebSocket-Protocol: ${subprotocols}\r\n`
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${offer}\r\n`,
    )
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', () => {})
    this.#socket.on('end', () => this.#socket.destroy())
    this.#socket.on('close', () => owner.closed())
  }

  get isLive(): boolean {
    return !this.#socket.destroyed
  }

  get state(): object {
    const { connecting, bytesRead, bytesWritten } = this.#socket
    const rest = this.#rest?.length ?? 0
    return {
      isOpen: this.#isOpen,
      isMuted: this.#isMuted,
      connecting,
      bytesRead,
      bytesWritten,
      rest,
    }
  }

  send(text: string): void {
    this.#socket.write(frame(1, text))
  }

  /** From now on nothing arrives. */
  mute(): void {
    this.#isMuted = true
  }

  /** Ends the TCP connection. */
  end(reset: boolean): void {
    if (reset) this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    if (this.#isMuted) return
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    this.#rest = null
    let at = 0
    if (!this.#isOpen) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) {
        this.#rest = bytes
        return
      }
      if (!bytes.toString('latin1', 0, 12).endsWith(' 101')) {
        this.#socket.destroy()
        return
      }
      this.#isOpen = true
      this.#owner.opened()
      at = end + 4
    }
    while (at < bytes.length) {
      const next = this.#frame(bytes, at)
      if (next === 0) break
      at = next
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at)
  }

  /** Takes the frame at an index. Returns the index after it, or 0 when it is not complete. */
  #frame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return 0
    let size = (bytes[at + 1] as number) & 0x7f
    let from = at + 2
    if (size === 126) {
      if (bytes.length < at + 4) return 0
      size = bytes.readUInt16BE(from)
      from += 2
    } else if (size === 127) {
      if (bytes.length < at + 10) return 0
      size = Number(bytes.readBigUInt64BE(from))
      from += 8
    }
    const end = from + size
    if (bytes.length < end) return 0
    const opcode = (bytes[at] as number) & 0x0f
    if (opcode === 1) this.#owner.heard(bytes.toString('utf8', from, end))
    else if (opcode === PING) this.#socket.write(frame(10, bytes.subarray(from, end)))
    else if (opcode === CLOSE) this.#socket.destroy()
    return end
  }
}
