import { connect } from 'node:net'
import { ACCEPT } from './request.mjs'

const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
/** One buffer for all, because read data are handled in the same turn. */
const INPUT = Buffer.allocUnsafeSlow(1 << 18)

/** A text frame of a client, masked with zeros. */
export function textFrame(text) {
  const payload = Buffer.from(text)
  const { length } = payload
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0xfe, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload])
}

/**
 * A WebSocket client on a raw socket: it reads frames, answers pings, and passes on the bytes of each text,
 * which are valid until the callback returns.
 */
export class RawClient {
  #socket
  #owner
  #left = null
  #head = ''
  #phase = 'handshake'

  /**
   * @param request the handshake, sent with the key of `ACCEPT`
   * @param owner has text(client, bytes, start, size), closed(client), wrong(reason), and may have opened(client)
   */
  constructor(port, request, owner) {
    this.#owner = owner
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: INPUT, callback: (length) => this.#read(length) },
    })
    this.#socket.on('connect', () => this.#socket.write(request, 'latin1'))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => owner.closed(this))
  }

  write(bytes) {
    this.#socket.write(bytes)
  }

  destroy() {
    this.#phase = 'destroyed'
    this.#socket.destroy()
  }

  #read(length) {
    if (this.#phase === 'destroyed') return true
    if (this.#phase === 'handshake') this.#handshake(INPUT.latin1Slice(0, length))
    else if (this.#left === null) this.#frames(INPUT, length)
    else {
      const all = Buffer.concat([this.#left, INPUT.subarray(0, length)])
      this.#left = null
      this.#frames(all, all.length)
    }
    return true
  }

  #handshake(text) {
    this.#head += text
    const end = this.#head.indexOf('\r\n\r\n')
    if (end === -1) return
    if (!this.#head.startsWith('HTTP/1.1 101 ') || !this.#head.includes(ACCEPT)) {
      this.#owner.wrong(this.#head.slice(0, this.#head.indexOf('\r\n')))
      return
    }
    this.#phase = 'open'
    this.#owner.opened?.(this)
    const rest = Buffer.from(this.#head.slice(end + 4), 'latin1')
    if (rest.length > 0) this.#frames(rest, rest.length)
  }

  #frames(bytes, length) {
    let at = 0
    while (length - at >= 2) {
      let size = bytes[at + 1]
      let start = at + 2
      if (size === 126) {
        if (length - at < 4) break
        size = (bytes[at + 2] << 8) | bytes[at + 3]
        start = at + 4
      } else if (size > 126) {
        this.#owner.wrong('a frame of more than 64 KiB')
        return
      }
      if (length - start < size) break
      if (bytes[at] === 0x81) this.#owner.text(this, bytes, start, size)
      else if (bytes[at] === 0x89) this.#socket.write(PONG)
      else if (bytes[at] === 0x88)
        this.#owner.wrong(`closed: ${bytes.latin1Slice(start + 2, start + size)}`)
      else this.#owner.wrong(`a frame that begins with ${bytes[at]}`)
      if (this.#phase === 'destroyed') return
      at = start + size
    }
    if (at < length) this.#left = Buffer.from(bytes.subarray(at, length))
  }
}
