import { maskedText } from './echo-connection.mjs'
import { openSpeaking } from './load-messages.mjs'
import { drop } from './open.mjs'
import { speeches } from './speeches.mjs'

const MOST_MS = 60_000
const CREDIT = 262_144
const KEY = 'key-of-a-benchmark-'

/** Has items sent to it, and counts them. */
class Receiver {
  items = 0
  #socket
  #rest = Buffer.alloc(0)
  #id = 1_000
  #isStream = false
  #taken = 0
  #takenItems = 0
  #settle = null

  constructor(socket) {
    this.#socket = socket
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', (error) => this.#settle?.(error.message))
    socket.on('close', () => this.#settle?.('closed'))
  }

  /** Resolves with null after the reply, or with what went wrong. */
  ask(data, kind) {
    this.items = this.#taken = this.#takenItems = 0
    this.#id++
    this.#isStream = kind !== 'push'
    const credit = this.#isStream ? { credit: CREDIT } : {}
    const key =
      kind === 'stream resume'
        ? { key: `${KEY}${process.pid}-${this.#id}-${Math.random().toString(36).slice(2)}` }
        : {}
    this.#say({ type: 'go', id: this.#id, ...credit, ...key, data })
    return new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  #say(message) {
    this.#socket.write(maskedText(JSON.stringify(message)))
  }

  #read(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 2) {
      const isShort = bytes[at + 1] < 126
      const from = at + (isShort ? 2 : 4)
      if (bytes.length < from) break
      const size = isShort ? bytes[at + 1] : bytes.readUInt16BE(at + 2)
      if (bytes.length < from + size) break
      if (bytes[at] === 0x81) this.#text(bytes, from, size)
      at = from + size
    }
    this.#rest = bytes.subarray(at)
  }

  #text(bytes, from, size) {
    // {"type":"koaws:item" or {"type":"tick", {"type":"koaws:reply", {"type":"koaws:error"
    const isItem = bytes[from + 9] === 0x74 || bytes[from + 15] === 0x69
    if (isItem) {
      this.items++
      this.#taken += size
      if (this.#isStream && this.#taken >= CREDIT / 2) {
        this.#say({
          type: 'koaws:credit',
          id: this.#id,
          data: { bytes: this.#taken, items: this.items },
        })
        this.#taken = 0
      }
      return
    }
    const text = bytes.latin1Slice(from, from + size)
    if (this.#isStream) this.#say({ type: 'koaws:cancel', id: this.#id })
    this.#settle?.(text.startsWith('{"type":"koaws:reply"') ? null : text)
    this.#settle = null
  }
}

let sockets = []
let receivers = []

export async function openStreams({ port, count }) {
  sockets = []
  for (let i = 0; i < count; i++) sockets.push(await openSpeaking(port, speeches['koaws.v1']))
  receivers = sockets.map((socket) => new Receiver(socket))
}

/** Each connection asks for so many items. */
export async function runStreams({ items, inTurn, kind }) {
  const reasons = {}
  let errors = 0
  const wrong = (reason) => {
    errors++
    reasons[reason] = (reasons[reason] ?? 0) + 1
  }
  const began = process.hrtime.bigint()
  const cpu = process.cpuUsage()
  const timer = setTimeout(() => wrong('late'), MOST_MS)
  await Promise.all(
    receivers.map(async (receiver) => {
      const reason = await receiver.ask({ items, inTurn }, kind)
      if (reason) wrong(reason)
      else if (receiver.items !== items) wrong(`${receiver.items} of ${items} items`)
    }),
  )
  clearTimeout(timer)
  const { user, system } = process.cpuUsage(cpu)
  return {
    operations: items * receivers.length,
    errors,
    reasons,
    wallUs: Number(process.hrtime.bigint() - began) / 1_000,
    clientCpuUs: user + system,
  }
}

export async function closeStreams() {
  await drop(sockets)
  sockets = []
  receivers = []
}
