import { once } from 'node:events'
import { WebSocket } from 'ws'
import { type HostileMessage, HostileMessages } from '../../support/hostile-messages.ts'
import { type HostileRoute, ROUTES, TOKENS } from './hostile-protocols.ts'
import { verdictOf } from './verdict.ts'

/** The options of an attack. */
export interface AttackOptions {
  readonly port: number
  readonly seed: number
  readonly messages: number
  /** The number of simultaneous connections. */
  readonly connections: number
  /** Called regularly with the number of sent messages. */
  readonly onProgress?: (sent: number) => void
}

type Counts = Record<string, number>

/** The result of an attack. */
export interface AttackReport {
  readonly sent: number
  readonly connections: number
  readonly answers: number
  /** Messages by kind. */
  readonly made: Counts
  /** The expected counts, by path and reason. */
  readonly counted: Record<string, Counts>
  /** The received error codes, by path. */
  readonly codes: Record<string, Counts>
  /** Close codes with their path: `/strict 4400`. */
  readonly closes: Counts
  /** The failed checks, one sentence each. */
  readonly violations: readonly string[]
}

/** Error codes of docs/protocol.md, section 4, and of the handlers of these tests. */
const CODES = new Set([
  'ERR_KOAWS_MALFORMED',
  'ERR_KOAWS_BINARY',
  'ERR_KOAWS_TOO_LARGE',
  'ERR_KOAWS_TOO_DEEP',
  'ERR_KOAWS_PROTOTYPE_KEY',
  'ERR_KOAWS_UNKNOWN_TYPE',
  'ERR_KOAWS_INVALID',
  'ERR_KOAWS_UNAUTHENTICATED',
  'ERR_KOAWS_AUTH',
  'ERR_KOAWS_BUSY',
  'ERR_KOAWS_UNHANDLED',
  'internal',
  'forbidden',
  'i_m_a_teapot',
])

/** The message types that a server of these tests sends. */
const FROM_SERVER = new Set([
  'koaws:incoming',
  'koaws:welcome',
  'koaws:authenticate',
  'koaws:reply',
  'koaws:error',
  'said',
  'confirm',
])

const BATCH = 40
/** The number of answers that may be outstanding at a time. */
const MOST_OUTSTANDING = 200
const PATIENCE = 80_000
const FIRST_FENCE = 4e15

interface Wire {
  type: string
  id?: number
  data?: unknown
  error?: { code?: unknown; message?: unknown; status?: unknown; retryable?: unknown }
}

/** Sends messages of every kind over many connections, and checks the answers. */
export async function attack(options: AttackOptions): Promise<AttackReport> {
  const run = new Attack(options)
  await run.run()
  return run
}

class Attack implements AttackReport {
  sent = 0
  connections = 0
  answers = 0
  readonly counted: AttackReport['counted'] = {}
  readonly codes: AttackReport['codes'] = {}
  readonly closes: Counts = {}
  readonly violations: string[] = []
  readonly made: Counts = {}
  readonly #options: AttackOptions
  #reserved = 0

  constructor(options: AttackOptions) {
    this.#options = options
    for (const { path } of ROUTES) {
      this.counted[path] = {}
      this.codes[path] = {}
    }
  }

  get port(): number {
    return this.#options.port
  }

  async run(): Promise<void> {
    const { connections, onProgress } = this.#options
    const timer = onProgress && setInterval(() => onProgress(this.sent), 10_000)
    await Promise.all(Array.from({ length: connections }, (_, i) => this.#lane(i)))
    clearInterval(timer)
  }

  /** Whether another message may be sent; counts it. */
  takes(): boolean {
    if (this.#reserved >= this.#options.messages || this.violations.length > 20) return false
    this.#reserved++
    return true
  }

  wrong(what: string): void {
    if (this.violations.length <= 20) this.violations.push(what)
  }

  /** Runs one connection after the other. */
  async #lane(number: number): Promise<void> {
    const route = ROUTES[number % ROUTES.length] as HostileRoute
    const generator = new HostileMessages({
      seed: this.#options.seed + number,
      direction: 'to the server',
      types: route.types,
      tokens: TOKENS,
    })
    while (this.#reserved < this.#options.messages && this.violations.length <= 20) {
      this.connections++
      await new Attacker(this, route, generator).run()
    }
    for (const [name, many] of Object.entries(generator.made)) add(this.made, name, many)
  }
}

/** A connection of an attack. */
class Attacker {
  readonly #attack: Attack
  readonly #route: HostileRoute
  readonly #generator: HostileMessages
  readonly #socket: WebSocket
  /** The expected answers. */
  readonly #outstanding = new Map<
    number,
    { many: number; echo: string | undefined; text: string }
  >()
  /** Requests of the server that are answered after the next batch. */
  #questions: number[] = []
  #code: number | null = null
  #fence = FIRST_FENCE
  #leaving = false

  constructor(attack: Attack, route: HostileRoute, generator: HostileMessages) {
    this.#attack = attack
    this.#route = route
    this.#generator = generator
    this.#socket = new WebSocket(`ws://127.0.0.1:${attack.port}${route.path}`, 'koaws.v1', {
      perMessageDeflate: false,
    })
    this.#socket.on('message', (data, isBinary) => this.#hear(String(data), isBinary))
    this.#socket.on('error', () => {}) // its close event follows
    this.#socket.on('close', (code) => this.#ended(code))
  }

  async run(): Promise<void> {
    const socket = this.#socket
    await once(socket, 'open')
    if (this.#route.authenticates && this.#generator.chance(0.8)) {
      this.#send(textMessage('{"type":"koaws:auth","id":1,"data":{"token":"ann"}}'))
    }
    const last = await this.#sendAll()
    if (this.#code === null && this.#route.patient) await this.#settle()
    if (this.#code === null) this.#leave(last)
    await this.#until(() => this.#code !== null, 'the end of the connection')
    socket.terminate()
  }

  /** Sends the share of this connection. @returns the message that should end it, if any */
  async #sendAll(): Promise<HostileMessage | null> {
    const generator = this.#generator
    const share = 200 + generator.below(3_000)
    for (let i = 0; i < share; i++) {
      if (this.#code !== null || !this.#attack.takes()) return null
      const message = generator.next()
      if (message.ends) return message
      this.#send(message)
      if (i % BATCH === BATCH - 1) await this.#pause()
    }
    return null
  }

  #send(message: HostileMessage): void {
    const { counted, answers, echo } = verdictOf(message, this.#route)
    if (counted.length > 0) add(this.#attack.counted[this.#route.path] as Counts, counted.join())
    if (answers !== undefined) this.#expect(answers, echo, message.data)
    this.#attack.sent++
    this.#socket.send(message.data, { binary: message.binary })
  }

  #expect(id: number, echo: string | undefined, data: string | Buffer): void {
    const known = this.#outstanding.get(id)
    // Two answers with the same id are indistinguishable.
    if (known)
      this.#outstanding.set(id, { many: known.many + 1, echo: undefined, text: known.text })
    else this.#outstanding.set(id, { many: 1, echo, text: String(data).slice(0, 300) })
  }

  /** Waits for the server, and answers its requests. */
  async #pause(): Promise<void> {
    for (const id of this.#questions.splice(0)) this.#answer(id)
    await new Promise((resolve) => setImmediate(resolve))
    await this.#until(
      () => this.#outstanding.size < MOST_OUTSTANDING && this.#socket.bufferedAmount < 2 ** 18,
      `fewer outstanding answers than ${this.#outstanding.size}`,
    )
  }

  /** Answers correctly, wrongly, twice, or not at all. */
  #answer(id: number): void {
    const generator = this.#generator
    const dice = generator.below(100)
    const right = `{"type":"koaws:reply","id":${id},"data":true}`
    if (dice < 45) this.#socket.send(right)
    else if (dice < 60)
      this.#socket.send(`{"type":"koaws:reply","id":${id},"data":"not a boolean"}`)
    else if (dice < 70) {
      this.#socket.send(right)
      this.#socket.send(right)
    } else if (dice < 90) {
      const error = generator.pick(['7', 'null', '{}', '{"status":1e999,"code":{},"message":[]}'])
      this.#socket.send(`{"type":"koaws:error","id":${id},"error":${error}}`)
    }
  }

  /** Waits until all is answered, and checks that no further answer follows. */
  async #settle(): Promise<void> {
    const answered = (): boolean => {
      for (const id of this.#questions.splice(0)) this.#answer(id)
      return this.#outstanding.size === 0
    }
    await this.#until(answered, 'the last answer')
    for (const type of ['echo', 'koaws:ping']) {
      const id = ++this.#fence
      this.#expect(id, 'null', `the fence ${type}`)
      this.#socket.send(`{"type":"${type}","id":${id}}`)
    }
    await this.#until(answered, 'the fence')
  }

  #leave(last: HostileMessage | null): void {
    this.#leaving = true
    if (last) this.#socket.send(last.data, { binary: last.binary })
    else if (this.#generator.chance(0.8)) this.#socket.close(1000)
    else this.#socket.terminate()
  }

  #hear(text: string, isBinary: boolean): void {
    if (isBinary) this.#wrong('a binary message came')
    const message = JSON.parse(text) as Wire
    const { type, id, data } = message
    if (!FROM_SERVER.has(type)) this.#wrong(`a message of type ${type} came`)
    if (type === 'confirm') this.#questions.push(id as number)
    if (type === 'koaws:error') this.#checkError(message)
    if ((type !== 'koaws:reply' && type !== 'koaws:error') || id === undefined) return
    this.#attack.answers++
    const expected = this.#outstanding.get(id)
    if (!expected) {
      this.#wrong(`an answer came that nobody waits for: ${text.slice(0, 300)}`)
      return
    }
    if (expected.echo !== undefined && type === 'koaws:reply') {
      if (JSON.stringify(data) !== expected.echo) {
        this.#wrong(`${expected.text} was answered with ${text.slice(0, 300)}`)
      }
    }
    if (--expected.many === 0) this.#outstanding.delete(id)
  }

  #checkError({ error }: Wire): void {
    const { code, message, status, retryable } = error ?? {}
    add(this.#attack.codes[this.#route.path] as Counts, String(code))
    const isWhole =
      typeof message === 'string' &&
      Number.isInteger(status) &&
      (status as number) >= 400 &&
      (status as number) <= 599 &&
      typeof retryable === 'boolean'
    if (!CODES.has(String(code)) || !isWhole) this.#wrong(`an error ${JSON.stringify(error)}`)
  }

  #ended(code: number): void {
    this.#code = code
    const { path, patient, authenticates } = this.#route
    add(this.#attack.closes, `${path} ${code}`)
    const allowed = new Set<number>(this.#leaving ? [1000, 1005, 1006, 1007, 1009] : [])
    // The close frame is lost when the server does not wait for the remaining data.
    if (!patient) for (const one of [4400, 1006]) allowed.add(one)
    // A token that is invalid, rejected, another user's, or late.
    if (authenticates) for (const one of [4400, 4401, 4403, 4408]) allowed.add(one)
    if (!allowed.has(code)) this.#wrong(`closed with ${code}`)
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const began = performance.now()
    while (!condition() && this.#code === null) {
      if (performance.now() - began > PATIENCE) {
        const [first] = this.#outstanding.values()
        this.#wrong(`${what} did not come; ${first?.text}`)
        this.#leaving = true
        this.#socket.terminate()
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  #wrong(what: string): void {
    this.#attack.wrong(`${this.#route.path}: ${what}`)
  }
}

function textMessage(data: string): HostileMessage {
  return { data, binary: false, ends: false }
}

function add(counts: Counts, name: string, many = 1): void {
  counts[name] = (counts[name] ?? 0) + many
}
