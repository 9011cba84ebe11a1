import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { MAX_RESUME, readResume } from '../../../lib/protocol/history.ts'
import { HostileMessages } from '../../support/hostile-messages.ts'

/** The message types that the clients listen to. */
export const LISTENED = ['said', 'confirm', 'news', 'constructor']

/** Close codes that a server may send: RFC 6455, section 7.4, and those of docs/protocol.md. */
const CODES = [
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014],
  ...[3000, 3999, 4000, 4400, 4401, 4403, 4404, 4408, 4425, 4429, 4499, 4500, 4599],
  ...[4610, 4611, 4612, 4613, 4700, 4999],
]

const REASONS = ['', 'restart, retry in 5 ms', 'restart, retry in 999999999 ms', 'é'.repeat(61)]

/** Frames that RFC 6455 forbids: a reserved bit or opcode, a masked frame, a bad close. */
const BAD_FRAMES = [
  'c100',
  '8300',
  '8180000000',
  '8801ff',
  '880203e7',
  '88020000',
  '8900ff',
  '0900',
]

/** Values in messages about history, as JSON. */
const KINDS = ['position', 'recovered', 'recovered', 'at', 'left']
const ROOMS = ['"a"', '"b"', '""', '"__proto__"', '"constructor"', '7', '{"toString":1}', '[]']
const OTHERS = ['null', '7', '"x"', '{}', '"e1.99999999999999999.k"', '["e1.1.k"]', '"e1.1.k.k"']
const VERDICTS = [
  '"recovered":true,"missed":2',
  '"recovered":true,"missed":0',
  '"recovered":true,"missed":"2"',
  '"recovered":false,"missed":null,"reason":"epoch"',
  '"recovered":false,"missed":null,"reason":{}',
  '"recovered":0',
]

/** A server that violates `koaws.v1`. */
export class HostileServer {
  /** The numbers of messages and connections, and of the ways in which they ended. */
  readonly sent: { messages: number; connections: number; ends: Record<string, number> } = {
    messages: 0,
    connections: 0,
    ends: {},
  }
  /** Invalid messages from clients. */
  readonly bad: string[] = []
  readonly #server: WebSocketServer
  readonly #generator: HostileMessages
  readonly #most: number

  /** @param most the number of messages to send */
  constructor(server: Server, seed: number, most: number) {
    this.#most = most
    this.#generator = new HostileMessages({ seed, direction: 'to the client', types: LISTENED })
    this.#server = new WebSocketServer({
      server,
      handleProtocols: () => (this.#generator.chance(0.98) ? 'koaws.v1' : false),
    })
    this.#server.on('connection', (socket) => void this.#serve(socket))
  }

  get made(): Record<string, number> {
    return this.#generator.made
  }

  /** Whether all messages were sent. */
  get isDone(): boolean {
    return this.sent.messages >= this.#most
  }

  end(): void {
    for (const socket of this.#server.clients) socket.terminate()
    this.#server.close()
  }

  async #serve(socket: WebSocket): Promise<void> {
    const generator = this.#generator
    this.sent.connections++
    socket.on('error', () => {})
    socket.on('message', (data) => this.#hear(socket, String(data)))
    this.#greet(socket)
    const share = 20 + generator.below(400)
    for (let i = 0; i < share && socket.readyState === socket.OPEN && !this.isDone; i++) {
      this.#sendOne(socket)
      if (i % 20 === 19) await new Promise((resolve) => setImmediate(resolve))
    }
    this.#leave(socket)
  }

  #greet(socket: WebSocket): void {
    const dice = this.#generator.below(100)
    if (dice < 80) {
      socket.send(
        '{"type":"koaws:welcome","data":{"version":1,"connection":"x","user":null,"heartbeat":1000,"maxMessage":65536,"maxDepth":32,"expiresAt":null,"refresh":true,"more":{}}}',
      )
    } else if (dice < 90) socket.send('{"type":"koaws:authenticate","data":{"timeout":1000}}')
    else if (dice < 95) socket.send('{"type":"koaws:welcome"}')
  }

  /** Makes a message about history, or one with a place, of right and wrong parts. */
  #historyText(): string {
    const generator = this.#generator
    const name = `"room ${generator.below(2_000)}${'é'.repeat(generator.below(300))}"`
    const room = generator.chance(0.3) ? name : generator.pick(ROOMS)
    const right = `"e${generator.below(3)}.${generator.below(100)}.k"`
    const position = generator.chance(0.8) ? right : generator.pick(OTHERS)
    const place = `"room":${room},"position":${position}`
    if (generator.chance(0.5)) {
      const once = generator.chance(0.3) ? `,"once":"${generator.below(400)}"` : ''
      return `{${place}${once},"type":"said","data":"with a place"}`
    }
    const verdict = generator.pick(VERDICTS)
    return `{"type":"koaws:${generator.pick(KINDS)}","data":{${place},${verdict}}}`
  }

  #sendOne(socket: WebSocket): void {
    const generator = this.#generator
    this.sent.messages++
    if (generator.chance(0.2)) {
      socket.send(this.#historyText())
      return
    }
    const { data, binary } = generator.next()
    if (generator.chance(0.05) && data.length > 2) {
      const bytes = Buffer.from(data)
      const cut = generator.below(bytes.length)
      socket.send(bytes.subarray(0, cut), { binary, fin: false })
      if (generator.chance(0.5)) socket.ping()
      socket.send(bytes.subarray(cut), { binary, fin: true })
    } else socket.send(data, { binary })
  }

  /** Answers correctly, with an error, twice, or not at all. */
  #hear(socket: WebSocket, text: string): void {
    const message = parsed(text)
    if (typeof message?.type !== 'string') {
      if (this.bad.length < 10) this.bad.push(text.slice(0, 200))
      return
    }
    const { id, type } = message
    if (type === 'koaws:resume') {
      const fits = Buffer.byteLength(text) <= MAX_RESUME && readResume(message.data) !== null
      if (!fits) this.bad.push(text.slice(0, 200))
    }
    if (id === undefined || type === 'koaws:reply' || type === 'koaws:error') return
    const generator = this.#generator
    const dice = generator.below(100)
    const right = `{"type":"koaws:reply","id":${id},"data":{"expiresAt":${Date.now() + 2_000}}}`
    if (dice < 50) socket.send(right)
    else if (dice < 60) {
      socket.send(right)
      socket.send(right)
    } else if (dice < 80) {
      const message = generator.pick([
        '"no"',
        '{"toString":1,"valueOf":1}',
        '[[[]]]',
        '1e999',
        'null',
      ])
      socket.send(
        `{"type":"koaws:error","id":${id},"error":{"code":${message},"message":${message},"status":${message}}}`,
      )
    } else if (dice < 85) socket.send(`{"type":"koaws:error","id":${id}}`)
  }

  #leave(socket: WebSocket): void {
    const generator = this.#generator
    const dice = generator.below(100)
    const code = generator.pick(CODES)
    if (dice < 60) {
      this.#count(`close ${code}`)
      socket.close(code, generator.pick(REASONS))
    } else if (dice < 75) {
      this.#count('bye')
      const after = generator.pick(['0', '5', '-5', '1e999', '"5"', 'null', '{}'])
      socket.send(`{"type":"koaws:bye","data":{"code":1012,"reason":"x","after":${after}}}`)
      socket.close(1012, generator.pick(REASONS))
    } else if (dice < 85) {
      this.#count('no close frame')
      socket.terminate()
    } else if (dice < 95) {
      this.#count('bad frame')
      const { _socket: tcp } = socket as unknown as { _socket?: Duplex }
      tcp?.write(Buffer.from(generator.pick(BAD_FRAMES), 'hex'))
      setTimeout(() => socket.terminate(), 50)
    } else {
      this.#count('no UTF-8')
      socket.send(Buffer.from('c328', 'hex'), { binary: false })
      setTimeout(() => socket.terminate(), 50)
    }
  }

  #count(how: string): void {
    this.sent.ends[how] = (this.sent.ends[how] ?? 0) + 1
  }
}

function parsed(text: string): { type?: unknown; id?: unknown; data?: unknown } | null {
  try {
    return JSON.parse(text) as { type?: unknown; id?: unknown; data?: unknown }
  } catch {
    return null
  }
}
