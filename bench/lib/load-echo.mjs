import { randomBytes } from 'node:crypto'
import { drop, open } from './open.mjs'
import { mayHoldPing, takePings } from './pings.mjs'

const PAYLOAD = 32
const REQUEST = 6 + PAYLOAD
const REPLY = 2 + PAYLOAD
const RING = 64

function frames(connection) {
  const requests = Buffer.alloc(RING * REQUEST)
  const replies = Buffer.alloc(RING * REPLY)
  for (let i = 0; i < RING; i++) {
    const payload = Buffer.from(`connection ${connection} message ${i} `.padEnd(PAYLOAD, '.'))
    if (payload.length !== PAYLOAD) throw new Error('payload of a wrong size')
    const mask = randomBytes(4)
    requests.set([0x81, 0x80 | PAYLOAD, ...mask], i * REQUEST)
    for (let j = 0; j < PAYLOAD; j++) requests[i * REQUEST + 6 + j] = payload[j] ^ mask[j & 3]
    replies.set([0x81, PAYLOAD], i * REPLY)
    payload.copy(replies, i * REPLY + 2)
  }
  // Twice the ring, so that what wraps around is one piece.
  return {
    requests: Buffer.concat([requests, requests]),
    replies: Buffer.concat([replies, replies]),
  }
}

class EchoConnection {
  #socket
  #frames
  #sentFrames = 0
  #receivedBytes = 0
  #answered = 0
  #run = null
  #rest = null

  constructor(socket, index) {
    this.#socket = socket
    this.#frames = frames(index)
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
    const from = (this.#sentFrames % RING) * REQUEST
    this.#run.toSend -= number
    this.#sentFrames += number
    this.#socket.write(this.#frames.requests.subarray(from, from + number * REQUEST))
  }

  /** What is no ping; nothing in a reply looks like one. */
  #withoutPings(chunk) {
    const all = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk])
    const border = (REPLY - (this.#receivedBytes % REPLY)) % REPLY
    const { bytes, rest } = takePings(all, border, REPLY, (pong) => this.#socket.write(pong))
    this.#rest = rest
    return bytes
  }

  #onData(received) {
    const pinged = this.#rest !== null || mayHoldPing(received)
    const chunk = pinged ? this.#withoutPings(received) : received
    if (chunk.length === 0) return
    const run = this.#run
    if (run === null) return this.#fail('a frame that nobody asked for')
    const from = this.#receivedBytes % (RING * REPLY)
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#sentFrames * REPLY) return this.#fail('more than was asked for')
    if (chunk.compare(this.#frames.replies, from, from + chunk.length) !== 0) {
      return this.#fail('wrong bytes or order')
    }
    const complete = Math.floor(this.#receivedBytes / REPLY) - this.#answered
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

let sockets = []
let connections = []

export async function openEcho({ port, count }) {
  sockets = await open(port, count, false)
  connections = sockets.map((socket, index) => new EchoConnection(socket, index))
}

/** perConnection messages on every connection, at most depth unanswered on each. */
export async function runEcho({ perConnection, depth, batches }) {
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

export async function closeEcho() {
  await drop(sockets)
  sockets = []
  connections = []
}
