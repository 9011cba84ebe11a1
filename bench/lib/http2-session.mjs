import { EventEmitter } from 'node:events'

/** RFC 9113, sections 6 and 7. */
const DATA = 0
const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const GOAWAY = 7
const WINDOW_UPDATE = 8
const END_STREAM = 1
const ACK = 1
const END_HEADERS = 4
const PADDED = 8
const CANCEL = 8

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
const HEAD = 9
const LARGEST_WINDOW = 2 ** 31 - 1
const INITIAL_WINDOW = 65_535
/** `:status: 200` of the static table (RFC 7541, appendix A). */
const STATUS_200 = 0x88
const STATIC_ENTRIES = 61

function frame(type, flags, stream, payload) {
  const bytes = Buffer.allocUnsafe(HEAD + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, HEAD)
  return bytes
}

function uint32(value) {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value, 0)
  return bytes
}

/** No push, and an unlimited window for each stream. */
function settings() {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt16BE(2, 0)
  bytes.writeUInt16BE(4, 6)
  bytes.writeUInt32BE(LARGEST_WINDOW, 8)
  return bytes
}

/** An HPACK string without Huffman code. */
function string(text) {
  const length = Buffer.byteLength(text, 'latin1')
  const head = length < 127 ? [length] : length < 255 ? [127, length - 127] : null
  if (head === null) throw new Error('a header above 254 bytes')
  return Buffer.concat([Buffer.from(head), Buffer.from(text, 'latin1')])
}

/** The first request of a session adds each of its headers to the table of the server. */
function newHeaders(headers) {
  const fields = headers.flatMap(([name, value]) => [
    Buffer.from([0x40]),
    string(name),
    string(value),
  ])
  return Buffer.concat(fields)
}

/** Further requests are the same, and refer to that table, as a browser does. */
function knownHeaders(headers) {
  const size = headers.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
  if (size > 4096 || headers.length + STATIC_ENTRIES > 126) throw new Error('too many headers')
  return Buffer.from(headers.map((_, i) => 0x80 | (STATIC_ENTRIES + headers.length - i)))
}

/** The part of the socket API that a load client needs, over one stream. */
class Tunnel extends EventEmitter {
  destroyed = false
  #session
  #id

  constructor(session, id) {
    super()
    this.#session = session
    this.#id = id
  }

  write(bytes) {
    if (!this.destroyed) this.#session.send(frame(DATA, 0, this.#id, bytes))
  }

  destroy() {
    if (!this.destroyed) this.#session.send(frame(RST_STREAM, 0, this.#id, uint32(CANCEL)))
    this.left()
  }

  /** Its stream has ended. */
  left(reason = null) {
    if (this.destroyed) return
    this.destroyed = true
    this.#session.forget(this.#id)
    if (reason !== null && this.listenerCount('error') > 0) this.emit('error', new Error(reason))
    this.emit('close')
  }
}

/**
 * The client's side of one HTTP/2 session, as far as extended CONNECT needs it (RFC 8441). All
 * bytes of one turn leave in one write. The server's windows are ignored: a closed loop never fills
 * them, and a server that disagrees ends the stream, which is an error.
 */
export class Http2Session {
  #socket
  #tunnels = new Map()
  #answers = new Map()
  #known = null
  #lastId = -1
  #rest = null
  #toSend = []
  #taken = 0
  #enabled
  #failure = null

  /** @param socket connected, with ALPN done */
  constructor(socket) {
    this.#socket = socket
    this.#enabled = new Promise((resolve, reject) => {
      this.#answers.set(0, { resolve, reject })
    })
    this.#enabled.catch(() => {})
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', (error) => this.#fail(error.code ?? error.message))
    socket.on('close', () => this.#fail('session closed'))
    this.send(PREFACE)
    this.send(frame(SETTINGS, 0, 0, settings()))
    this.send(frame(WINDOW_UPDATE, 0, 0, uint32(LARGEST_WINDOW - INITIAL_WINDOW)))
  }

  /**
   * Opens a tunnel, and passes it to attach() before any of its data. All requests of a session
   * have the same headers.
   */
  async open(headers, attach) {
    await this.#enabled
    if (this.#failure !== null) throw new Error(this.#failure)
    const block = this.#known ?? newHeaders(headers)
    this.#known ??= knownHeaders(headers)
    this.#lastId += 2
    const id = this.#lastId
    const tunnel = new Tunnel(this, id)
    this.#tunnels.set(id, tunnel)
    this.send(frame(HEADERS, END_HEADERS, id, block))
    await new Promise((resolve, reject) => {
      const accepted = () => {
        attach(tunnel)
        resolve()
      }
      this.#answers.set(id, { resolve: accepted, reject })
    })
  }

  /** Resolves when the connection is closed. */
  close() {
    return new Promise((resolve) => {
      if (this.#socket.closed) return resolve()
      this.#socket.once('close', resolve)
      this.#socket.destroy()
    })
  }

  send(bytes) {
    if (this.#toSend.push(bytes) === 1) process.nextTick(() => this.#flush())
  }

  forget(id) {
    this.#tunnels.delete(id)
    this.#answers.delete(id)
  }

  #flush() {
    const bytes = this.#toSend.length === 1 ? this.#toSend[0] : Buffer.concat(this.#toSend)
    this.#toSend = []
    if (this.#socket.writable) this.#socket.write(bytes)
  }

  #fail(reason) {
    this.#failure ??= reason
    this.#socket.destroy()
    for (const { reject } of this.#answers.values()) reject(new Error(this.#failure))
    this.#answers.clear()
    for (const tunnel of [...this.#tunnels.values()]) tunnel.left(this.#failure)
  }

  #onData(chunk) {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= HEAD) {
      const end = at + HEAD + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      const id = bytes.readUInt32BE(at + 5)
      this.#onFrame(bytes[at + 3], bytes[at + 4], id, bytes.subarray(at + HEAD, end))
      at = end
    }
    this.#rest = at === bytes.length ? null : bytes.subarray(at)
  }

  #onFrame(type, flags, id, payload) {
    if (type === DATA) this.#onBytes(flags, id, payload)
    else if (type === HEADERS) this.#onAnswer(flags, id, payload)
    else if (type === SETTINGS) this.#onSettings(flags, payload)
    else if (type === RST_STREAM) this.#onReset(id, payload)
    else if (type === PING && flags !== ACK) this.send(frame(PING, ACK, 0, payload))
    else if (type === GOAWAY) this.#fail(`GOAWAY ${payload.readUInt32BE(4)}`)
    else if (type !== PING && type !== WINDOW_UPDATE) this.#fail(`a frame of type ${type}`)
  }

  #onBytes(flags, id, payload) {
    if ((flags & PADDED) !== 0) return this.#fail('padding')
    this.#taken += payload.length
    if (this.#taken > LARGEST_WINDOW / 2) {
      this.send(frame(WINDOW_UPDATE, 0, 0, uint32(this.#taken)))
      this.#taken = 0
    }
    const tunnel = this.#tunnels.get(id)
    if (!tunnel) return // data in transit to a tunnel that was given up
    if (payload.length > 0) tunnel.emit('data', payload)
    if ((flags & END_STREAM) !== 0) tunnel.left('ended')
  }

  #onAnswer(flags, id, payload) {
    const answer = this.#answers.get(id)
    if (!answer) return this.#fail('an answer that nobody asked for')
    this.#answers.delete(id)
    if (payload[0] !== STATUS_200) answer.reject(new Error('an answer that is not 200'))
    else if (flags !== END_HEADERS) answer.reject(new Error(`an answer with flags ${flags}`))
    else answer.resolve()
  }

  #onSettings(flags, payload) {
    if (flags === ACK) return
    this.send(frame(SETTINGS, ACK, 0, Buffer.alloc(0)))
    const first = this.#answers.get(0)
    if (!first) return
    this.#answers.delete(0)
    for (let at = 0; at < payload.length; at += 6) {
      const enabled = payload.readUInt16BE(at) === 8 && payload.readUInt32BE(at + 2) === 1
      if (enabled) return first.resolve()
    }
    first.reject(new Error('no SETTINGS_ENABLE_CONNECT_PROTOCOL'))
  }

  #onReset(id, payload) {
    const reason = `reset with ${payload.readUInt32BE(0)}`
    this.#answers.get(id)?.reject(new Error(reason))
    this.#tunnels.get(id)?.left(reason)
  }
}
