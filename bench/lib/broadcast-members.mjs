import { maskedText, plainText } from './echo-connection.mjs'
import { PUBLISHER_BASE, SEQUENCE_BASE, textOf } from './message.mjs'
import { mayHoldPing, takePings } from './pings.mjs'

const MOST_MS = 30_000

/**
 * The members of one room; the first publishes. The next publish leaves when every member has
 * received all bytes of the last.
 */
export class Members {
  #members = []
  #expected = Buffer.alloc(0)
  #frameSize = 1
  #lacking = 0
  #sequence = SEQUENCE_BASE
  #failure = null
  #settle = null

  add(socket) {
    const member = { socket, at: 0, rest: null }
    this.#members.push(member)
    socket.on('data', (chunk) => this.#onData(member, chunk))
    socket.on('error', (error) => this.#fail(error.code ?? error.message))
    socket.on('close', () => this.#fail('closed'))
  }

  /** Publishes `count` times, each with `burst` messages in one turn of the server. */
  async run({ publishes, burst, size }) {
    const reasons = {}
    const cpu = process.cpuUsage()
    const from = process.hrtime.bigint()
    try {
      for (let i = 0; i < publishes; i++) await this.#publish(burst, size)
    } catch (error) {
      reasons[error.message] = 1
    }
    const { user, system } = process.cpuUsage(cpu)
    return {
      operations: publishes * burst * this.#members.length,
      errors: Object.keys(reasons).length,
      reasons,
      wallUs: Number(process.hrtime.bigint() - from) / 1000,
      clientCpuUs: user + system,
    }
  }

  #publish(burst, size) {
    if (this.#failure !== null) return Promise.reject(new Error(this.#failure))
    const first = this.#sequence
    this.#sequence += burst
    const frames = Array.from({ length: burst }, (_, i) =>
      plainText(textOf(PUBLISHER_BASE, first + i, size)),
    )
    this.#expected = Buffer.concat(frames)
    this.#frameSize = frames[0].length
    this.#lacking = this.#members.length
    for (const member of this.#members) member.at = 0
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail('a member lacks a message'), MOST_MS)
      this.#settle = (error) => {
        clearTimeout(timer)
        this.#settle = null
        if (error) reject(error)
        else resolve()
      }
      this.#members[0].socket.write(maskedText([PUBLISHER_BASE, first, burst, size].join(',')))
    })
  }

  #onData(member, chunk) {
    const pinged = member.rest !== null || mayHoldPing(chunk)
    const bytes = pinged ? this.#withoutPings(member, chunk) : chunk
    if (bytes.length === 0) return
    const end = member.at + bytes.length
    if (end > this.#expected.length) return this.#fail('a message too many')
    if (bytes.compare(this.#expected, member.at, end) !== 0) {
      return this.#fail('wrong bytes or order')
    }
    member.at = end
    if (end < this.#expected.length) return
    this.#lacking--
    if (this.#lacking === 0) this.#settle?.()
  }

  #withoutPings(member, chunk) {
    const all = member.rest === null ? chunk : Buffer.concat([member.rest, chunk])
    const size = this.#frameSize
    const border = (size - (member.at % size)) % size
    const { bytes, rest } = takePings(all, border, size, (pong) => member.socket.write(pong))
    member.rest = rest
    return bytes
  }

  #fail(reason) {
    this.#failure ??= reason
    this.#settle?.(new Error(this.#failure))
  }
}
