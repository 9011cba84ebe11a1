import { maskedText } from './echo-connection.mjs'
import { openSpeaking } from './load-messages.mjs'
import { drop } from './open.mjs'
import { speeches } from './speeches.mjs'

const MOST_MS = 30_000
const PUSH = '{"type":"said","data":{"text":"'
const REPLY = '{"type":"koaws:reply"'

/** Counts the messages of one member. */
class Member {
  received = 0
  #rest = Buffer.alloc(0)
  #socket
  #owner

  constructor(socket, owner) {
    this.#socket = socket
    this.#owner = owner
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', (error) => owner.fail(error.code ?? error.message))
    socket.on('close', () => owner.fail('closed'))
  }

  write(bytes) {
    this.#socket.write(bytes)
  }

  #read(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 4) {
      const isShort = bytes[at + 1] < 126
      const from = at + (isShort ? 2 : 4)
      const end = from + (isShort ? bytes[at + 1] : bytes.readUInt16BE(at + 2))
      if (bytes.length < end) break
      if (bytes[at] === 0x81) this.#take(bytes, from)
      else if (bytes[at] === 0x89) this.#socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0]))
      at = end
    }
    this.#rest = bytes.subarray(at)
  }

  #take(bytes, from) {
    const start = bytes.latin1Slice(from, from + PUSH.length)
    if (!start.startsWith(PUSH) && !start.startsWith(REPLY)) return this.#owner.fail(start)
    this.received++
    this.#owner.received()
  }
}

/** The members of one room of a chat, each of which checks that it gets every message. */
class Chat {
  members = []
  #awaited = 0
  #settle = null
  #failure = null

  /** In each round `talkers` members say one message, and every member gets all of them. */
  async say(rounds, talkers, expected) {
    const frame = maskedText('{"type":"say","data":{"text":"hello, how are you?"}}')
    for (let i = 0; i < rounds; i++) {
      await this.#round(talkers * expected, () => {
        for (let k = 0; k < talkers; k++) this.members[(i + k) % this.members.length].write(frame)
      })
    }
  }

  /** In each round every member makes one request. */
  async ask(rounds) {
    const frame = maskedText('{"type":"echo","id":7,"data":{"text":"hello, how are you?"}}')
    for (let i = 0; i < rounds; i++) {
      await this.#round(this.members.length, () => {
        for (const member of this.members) member.write(frame)
      })
    }
  }

  received() {
    this.#awaited--
    if (this.#awaited === 0) this.#settle?.()
    if (this.#awaited < 0) this.fail('a message too many')
  }

  fail(reason) {
    this.#failure ??= reason
    this.#settle?.(new Error(reason))
  }

  #round(awaited, send) {
    if (this.#failure !== null) throw new Error(this.#failure)
    this.#awaited = awaited
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail('a message is missing'), MOST_MS)
      this.#settle = (error) => {
        clearTimeout(timer)
        this.#settle = null
        if (error) reject(error)
        else resolve()
      }
      send()
    })
  }
}

let chat
let sockets = []

export async function openChat({ port, count }) {
  chat = new Chat()
  sockets = []
  for (let i = 0; i < count; i++) sockets.push(await openSpeaking(port, speeches['koaws.v1']))
  chat.members = sockets.map((socket) => new Member(socket, chat))
}

/** The operations are deliveries, or requests with their reply. */
export async function runChat({ kind, rounds, talkers }) {
  const reasons = {}
  const members = chat.members.length
  const cpu = process.cpuUsage()
  const from = process.hrtime.bigint()
  try {
    if (kind === 'say') await chat.say(rounds, talkers, members)
    else await chat.ask(rounds)
  } catch (error) {
    reasons[error.message] = 1
  }
  const { user, system } = process.cpuUsage(cpu)
  return {
    operations: rounds * members * (kind === 'say' ? talkers : 1),
    errors: Object.keys(reasons).length,
    reasons,
    wallUs: Number(process.hrtime.bigint() - from) / 1000,
    clientCpuUs: user + system,
  }
}

export async function closeChat() {
  await drop(sockets)
  sockets = []
}
