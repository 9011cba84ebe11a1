import { connect } from 'node:net'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'

const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
const MASKED = [0x80, 0, 0, 0, 0]
/** One for all: what is read is looked at in the same turn. */
const INPUT = Buffer.allocUnsafeSlow(1 << 18)

const ZERO = 48
const OPEN = ZERO
const PING = ZERO + 2
const PACKET = ZERO + 4

/** A text of a client, masked with zeros. */
function textFrame(text) {
  return Buffer.from([0x81, MASKED[0] | text.length, 0, 0, 0, 0, ...Buffer.from(text)])
}

/**
 * A member of the room on a raw socket: it reads frames, answers what keeps a connection alive, and
 * gives each message away as bytes that are good until it returns.
 */
export class RawMember {
  #socket
  #kind
  #owner
  #left = null
  #phase = 'handshake'
  #head = ''
  /** What comes next of each publisher. */
  expected

  constructor(port, kind, publishers, owner) {
    this.#kind = kind
    this.#owner = owner
    this.expected = new Uint32Array(publishers)
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: INPUT, callback: (length) => this.#read(INPUT, length) },
    })
    this.#socket.on('connect', () => {
      const request = upgradeRequest(port, TOKENS.valid).toString('latin1')
      const path = '/socket.io/?EIO=4&transport=websocket'
      this.#socket.write(kind === 'ws' ? request : request.replace('/room/lobby', path))
    })
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => owner.closed(this))
  }

  destroy() {
    this.#phase = 'destroyed'
    this.#socket.destroy()
  }

  #read(input, length) {
    if (this.#phase === 'destroyed') return true
    if (this.#phase === 'handshake') this.#handshake(input.latin1Slice(0, length))
    else if (this.#left === null) this.#frames(input, length)
    else {
      const all = Buffer.concat([this.#left, input.subarray(0, length)])
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
    this.#phase = 'packets'
    if (this.#kind === 'ws') this.#opened()
    const rest = Buffer.from(this.#head.slice(end + 4), 'latin1')
    if (rest.length > 0) this.#frames(rest, rest.length)
  }

  #opened() {
    this.#phase = 'open'
    this.#owner.opened(this)
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
      if (bytes[at] === 0x81) this.#text(bytes, start, size)
      else if (bytes[at] === 0x89) this.#socket.write(PONG)
      else this.#owner.wrong(`a frame that begins with ${bytes[at]}`)
      at = start + size
    }
    if (at < length) this.#left = Buffer.from(bytes.subarray(at, length))
  }

  #text(bytes, start, size) {
    if (this.#kind === 'ws') {
      this.#owner.message(this, bytes, start, size)
      return
    }
    const type = bytes[start]
    if (type === PACKET && bytes[start + 1] === PACKET - 2) {
      this.#owner.message(this, bytes, start, size)
    } else if (type === PING && size === 1) this.#socket.write(textFrame('3'))
    else if (type === OPEN) this.#socket.write(textFrame('40'))
    else if (type === PACKET && bytes[start + 1] === ZERO) this.#opened()
    else this.#owner.wrong(`a packet of type ${type - ZERO}`)
  }
}
