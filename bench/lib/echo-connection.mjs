import { randomBytes } from 'node:crypto'
import { mayHoldPing, takePings } from './pings.mjs'

const MOST = 125

/** A text frame from a client. */
export function maskedText(text) {
  const payload = Buffer.from(text)
  if (payload.length > MOST) throw new Error(`a payload above ${MOST} bytes`)
  const mask = randomBytes(4)
  for (let i = 0; i < payload.length; i++) payload[i] ^= mask[i & 3]
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, ...mask]), payload])
}

/** A text frame from a server. */
export function plainText(text) {
  const payload = Buffer.from(text)
  if (payload.length > MOST) throw new Error(`a payload above ${MOST} bytes`)
  return Buffer.concat([Buffer.from([0x81, payload.length]), payload])
}

/** One buffer with frames of one size, twice, so that a slice across the end is contiguous too. */
function ring(frames) {
  const size = frames[0].length
  if (frames.some((frame) => frame.length !== size)) throw new Error('frames of different sizes')
  return { bytes: Buffer.concat([...frames, ...frames]), size }
}

/** The bytes that one connection sends repeatedly, and the expected reply of each. */
export function framesOf(requestTexts, replyTexts) {
  const requests = ring(requestTexts.map(maskedText))
  const replies = ring(replyTexts.map(plainText))
  return {
    count: requestTexts.length,
    requests: requests.bytes,
    requestSize: requests.size,
    replies: replies.bytes,
    replySize: replies.size,
  }
}

/** One connection with known replies to all its messages, in order. */
export class EchoConnection {
  #socket
  #frames
  #sentFrames = 0
  #receivedBytes = 0
  #answered = 0
  #run = null
  #rest = null

  constructor(socket, frames) {
    this.#socket = socket
    this.#frames = frames
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', (error) => this.#fail(error.code ?? error.message))
    socket.on('close', () => this.#fail('closed'))
  }

  run(count, depth, batches) {
    if (this.failure) return Promise.reject(new Error(this.failure))
    return new Promise((resolve, reject) => {
      this.#run = { resolve, reject, depth, batches, toSend: count, toAnswer: count }
      this.#send(depth)
    })
  }

  #send(wanted) {
    const number = Math.min(wanted, this.#run.toSend)
    if (number === 0) return
    const { requests, requestSize, count } = this.#frames
    const from = (this.#sentFrames % count) * requestSize
    this.#run.toSend -= number
    this.#sentFrames += number
    this.#socket.write(requests.subarray(from, from + number * requestSize))
  }

  /** Removes pings from the bytes; a reply contains no bytes that look like one. */
  #withoutPings(chunk) {
    const all = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk])
    const { replySize } = this.#frames
    const border = (replySize - (this.#receivedBytes % replySize)) % replySize
    const { bytes, rest } = takePings(all, border, replySize, (pong) => this.#socket.write(pong))
    this.#rest = rest
    return bytes
  }

  #onData(received) {
    const pinged = this.#rest !== null || mayHoldPing(received)
    const chunk = pinged ? this.#withoutPings(received) : received
    if (chunk.length === 0) return
    const run = this.#run
    if (run === null) return this.#fail('a frame that nobody asked for')
    const { replies, replySize, count } = this.#frames
    const from = this.#receivedBytes % (count * replySize)
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#sentFrames * replySize)
      return this.#fail('more than was asked for')
    if (chunk.compare(replies, from, from + chunk.length) !== 0) {
      return this.#fail('wrong bytes or order')
    }
    const complete = Math.floor(this.#receivedBytes / replySize) - this.#answered
    this.#answered += complete
    run.toAnswer -= complete
    if (run.toAnswer === 0) {
      this.#run = null
      run.resolve()
    } else if (!run.batches) this.#send(complete)
    else if (this.#answered === this.#sentFrames) this.#send(run.depth)
  }

  #fail(reason) {
    const run = this.#run
    this.#run = null
    this.#socket.destroy()
    this.failure ??= reason
    run?.reject(new Error(reason))
  }
}

/** Sends perConnection messages on every connection, with at most depth unanswered on each. */
export async function runAll(connections, { perConnection, depth, batches }) {
  const cpu = process.cpuUsage()
  const from = process.hrtime.bigint()
  const settled = await Promise.allSettled(
    connections.map((connection) => connection.run(perConnection, depth, batches)),
  )
  const { user, system } = process.cpuUsage(cpu)
  const wallUs = Number(process.hrtime.bigint() - from) / 1000
  const reasons = {}
  const failed = settled.filter(({ status }) => status === 'rejected')
  for (const { reason } of failed) reasons[reason.message] = (reasons[reason.message] ?? 0) + 1
  return {
    operations: perConnection * connections.length,
    errors: failed.length,
    reasons,
    wallUs,
    clientCpuUs: user + system,
  }
}
