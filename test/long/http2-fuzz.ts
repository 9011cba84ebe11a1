/**
 * Sends HTTP/2 frames that no WebSocket client sends to a server with koaws. Other sockets on the same
 * server must lose no message.
 *
 *     npx tsx test/long/http2-fuzz.ts [rounds=50000] [seed] [--sessions]
 *
 * The JSON of the result goes to stdout, all else to stderr. Exits with 1 when a check fails. See
 * README.md.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  closeFrame,
  connectFields,
  data,
  type Field,
  Flag,
  frame,
  goaway,
  headerBlock,
  headers,
  inner,
  over,
  ping,
  RawHttp2,
  type RawStream,
  rstStream,
  Setting,
  settings,
  Type,
  textFrame,
  windowUpdate,
} from '../http2/support/raw-http2.ts'
import { runFuzz } from './support/fuzz.ts'
import type { FuzzQuestion, FuzzReport } from './support/http2-fuzz-server.ts'
import { keepResult } from './support/results.ts'

const FULL = 50_000
const WARM_UP = 5_000
/** The number of attacked sessions at a time; every second one has a bystander. */
const LANES = 8
/** Rounds on one session: fewer resets than nghttp2 allows at once (1,000). */
const ROUNDS = 250
/** Sessions without an attack, and sockets on each. */
const QUIET_SESSIONS = 2
const QUIET_SOCKETS = 4
/** The interval of a bystander's messages, in milliseconds. */
const SAY_EVERY = 15
/** The limit of heap growth in bytes: the usual variation of a heap. */
const MOST_LEFT = 4 * 1024 * 1024
/** How long ended connections may take to be released, in milliseconds. */
const PATIENCE = 10_000
/**
 * Adds actions that end a session by frames. Off by default, because Node itself crashes on them, with
 * and without koaws (see README.md).
 */
const SESSIONS = process.argv.includes('--sessions')
/**
 * Errors that the application may see: Koa reports clients that leave before an answer; `/throws`
 * and `/reject` throw.
 */
const EXPECTED = new Set([
  'boom',
  'no',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_ERROR',
  'ECONNRESET',
  'EPIPE',
  'ERR_KOAWS_CLIENT_GONE',
  'ERR_KOAWS_DEADLINE',
  'ERR_KOAWS_CLOSED',
  'ERR_KOAWS_SUBPROTOCOL',
  'ERR_KOAWS_NOT_AN_UPGRADE',
])
const PATHS = [
  ...['/', '/slow', '/inside', '/throws', '/closes', '/ends', '/pauses', '/none', '/reject'],
  ...['/large', '/never', '/resumes', '/admitted', '/admitted?ms=1'],
]
const BAD: Record<string, string | null>[] = [
  { ':path': '//x' },
  { ':path': '' },
  { ':path': '*' },
  { ':scheme': 'ftp' },
  { ':scheme': null },
  { ':authority': null },
  { ':authority': 'a@b' },
  { ':protocol': 'connect-udp' },
  { ':protocol': null, ':scheme': null, ':path': null },
  { ':method': 'GET' },
  { host: 'other' },
  { connection: 'Upgrade' },
  { 'sec-websocket-version': null },
  { 'sec-websocket-protocol': 'koaws.v1' },
  { 'sec-websocket-protocol': 'a b,' },
  { 'sec-websocket-extensions': 'permessage-deflate; x' },
  { origin: 'http://example.com' },
  { 'X-Upper': '1' },
]
const CODES = [0, 1, 2, 3, 5, 7, 8, 11, 13, 0xffffffff]

const log = (text: string): void => void process.stderr.write(`${text}\n`)

// ---- random numbers

class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** mulberry32 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  below(most: number): number {
    return Math.floor(this.next() * most)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T
  }

  bytes(most: number): Buffer {
    return Buffer.from(Array.from({ length: this.below(most + 1) }, () => this.below(256)))
  }
}

// ---- bystanders

/** A socket that sends echoes, receives the messages to all, and records what is missing. */
class Bystander {
  heard = 0
  echoes = 0
  readonly #client: RawHttp2
  readonly #stream: RawStream
  readonly #wrong: (what: string) => void
  readonly #timer: NodeJS.Timeout
  #said = 0
  #next: number | null = null
  #closeCode: number | null = null
  #leaving = false

  private constructor(client: RawHttp2, stream: RawStream, wrong: (what: string) => void) {
    this.#client = client
    this.#stream = stream
    this.#wrong = wrong
    this.#timer = setInterval(() => this.#say(), SAY_EVERY)
    this.hear()
  }

  static async open(client: RawHttp2, wrong: (what: string) => void): Promise<Bystander> {
    return new Bystander(client, await client.websocket('/bystander'), wrong)
  }

  get id(): number {
    return this.#stream.id
  }

  /** The number of the last message to all. */
  get last(): number {
    return (this.#next ?? 0) - 1
  }

  get closeCode(): number | null {
    return this.#closeCode
  }

  hear(): void {
    for (const { opcode, payload } of this.#stream.inner.splice(0)) {
      const text = payload.toString()
      if (opcode === 8) this.#closed(payload)
      else if (text.startsWith('all ')) {
        const number = Number(text.slice(4))
        if (this.#next !== null && number !== this.#next) {
          this.#wrong(`a bystander heard ${number} in place of ${this.#next}`)
        }
        this.#next = number + 1
        this.heard++
      } else if (text === `echo ${this.echoes}`) this.echoes++
      else this.#wrong(`a bystander heard ${text.slice(0, 50)} in place of echo ${this.echoes}`)
    }
    if (over(this.#stream) && this.#closeCode === null && !this.#leaving) {
      this.#leaving = true
      this.#wrong(`a bystander was ended: RST_STREAM ${this.#stream.reset}`)
    }
  }

  /** Resolves when the last echo has returned. */
  async settled(): Promise<void> {
    const said = this.#said
    this.#say()
    await this.#client.until(() => this.echoes > said || over(this.#stream), 'the last echo')
  }

  /** Leaves with a closing handshake. */
  async leave(): Promise<void> {
    clearInterval(this.#timer)
    await this.settled()
    this.#leaving = true
    this.#client.send(data(this.id, closeFrame(1000)))
    await this.#client.until(() => this.#closeCode !== null, 'the answer to a close frame')
    if (this.#closeCode !== 1000) this.#wrong(`a bystander was closed with ${this.#closeCode}`)
    this.#client.send(data(this.id, '', Flag.endStream))
    await this.#client.until(() => over(this.#stream), 'the end of a stream')
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #say(): void {
    if (over(this.#stream) || this.#closeCode !== null || this.#client.closed) return
    const text = textFrame(`echo ${this.#said}`)
    if (this.#client.sendData(this.id, text)) this.#said++
  }

  #closed(payload: Buffer): void {
    this.#closeCode = payload.readUInt16BE(0)
    clearInterval(this.#timer)
    if (this.#leaving) return
    this.#client.send(data(this.id, closeFrame(this.#closeCode)), data(this.id, '', Flag.endStream))
  }
}

// ---- the attack

interface Counts {
  rounds: number
  sessions: number
  streams: number
  broken: number
  bystanders: number
  heard: number
  echoes: number
  actions: Record<string, number>
  statuses: Record<string, number>
  resets: Record<string, number>
}

function count(counts: Record<string, number>, name: string | number | undefined): void {
  counts[String(name)] = (counts[String(name)] ?? 0) + 1
}

type Action = (attacker: Attacker) => void

/** A session under attack. */
class Attacker {
  /** Streams that this client has not ended. */
  readonly live: number[] = []
  readonly client: RawHttp2
  readonly dice: Dice
  over = false

  constructor(client: RawHttp2, dice: Dice) {
    this.client = client
    this.dice = dice
  }

  get some(): number {
    return this.dice.pick(this.live)
  }

  forget(id: number): void {
    const at = this.live.indexOf(id)
    if (at >= 0) this.live.splice(at, 1)
  }

  open(fields: Field[], flags: number = Flag.endHeaders): number {
    const id = this.client.next()
    this.client.send(headers(id, fields, flags))
    this.client.stream(id)
    if ((flags & Flag.endStream) === 0) this.live.push(id)
    return id
  }

  path(): Field[] {
    return connectFields({ ':path': this.dice.pick(PATHS) })
  }

  /** Returns data that is nearly what a WebSocket client may send. */
  message(): Buffer {
    const { dice } = this
    const kind = dice.below(12)
    if (kind < 4) return textFrame('x'.repeat(dice.below(3_000)))
    if (kind === 4) return inner(9, dice.bytes(125))
    if (kind === 5) return closeFrame(dice.pick([1000, 1001, 1005, 4000, 999, 2000]))
    if (kind === 6) return inner(dice.pick([1, 2, 0]), dice.bytes(50), dice.chance(0.5))
    if (kind === 7) return inner(dice.below(16), dice.bytes(20))
    if (kind === 8) return inner(1, Buffer.from('c328', 'hex'))
    if (kind === 9) return dice.bytes(200)
    const whole = textFrame('half of a message')
    return whole.subarray(0, dice.below(whole.length))
  }
}

/**
 * Actions that affect single streams only: a bystander on the same session must stay unaffected.
 */
const ON_STREAMS: Record<string, Action> = {
  open: (a) => void a.open(a.path()),
  openAndSpeak: (a) => {
    const id = a.open(a.path())
    a.client.sendData(id, a.message())
    a.client.sendData(id, a.message())
  },
  openAndReset: (a) => {
    const id = a.client.next()
    a.client.send(headers(id, a.path()), rstStream(id, a.dice.pick(CODES)))
  },
  openSpeakAndReset: (a) => {
    const id = a.open(a.path())
    a.client.sendData(id, a.message())
    a.client.send(rstStream(id, a.dice.pick(CODES)))
    a.forget(id)
  },
  openAndEnd: (a) => void a.open(a.path(), Flag.endHeaders | Flag.endStream),
  openBad: (a) => void a.open(connectFields(a.dice.pick(BAD))),
  openInParts: (a) => {
    const id = a.client.next()
    const block = headerBlock(connectFields({ 'x-long': 'y'.repeat(a.dice.below(500)) }))
    const cut = a.dice.below(block.length)
    a.client.send(
      frame(Type.headers, 0, id, block.subarray(0, cut)),
      frame(Type.continuation, Flag.endHeaders, id, block.subarray(cut)),
    )
    a.live.push(id)
  },
  get: (a) =>
    void a.open(
      connectFields({ ':method': 'GET', ':protocol': null, ':path': a.dice.pick(PATHS) }),
      Flag.endHeaders | Flag.endStream,
    ),
  speak: (a) => void a.client.sendData(a.some, a.message()),
  speakAndEnd: (a) => {
    const id = a.some
    if (a.client.sendData(id, a.message(), Flag.endStream)) a.forget(id)
  },
  closeAndEnd: (a) => {
    const id = a.some
    if (a.client.sendData(id, closeFrame(), Flag.endStream)) a.forget(id)
  },
  empty: (a) => void a.client.sendData(a.some, Buffer.alloc(0)),
  padded: (a) => {
    const message = a.message()
    const padded = Buffer.concat([Buffer.from([5]), message, Buffer.alloc(5)])
    a.client.sendData(a.some, padded, Flag.padded)
  },
  reset: (a) => {
    const id = a.some
    a.client.send(rstStream(id, a.dice.pick(CODES)))
    a.forget(id)
  },
  resetTwice: (a) => {
    const id = a.some
    a.client.send(rstStream(id, a.dice.pick(CODES)), rstStream(id, a.dice.pick(CODES)))
    a.forget(id)
  },
  trailers: (a) => {
    const id = a.some
    a.client.send(headers(id, [['x-later', '1']], Flag.endHeaders | Flag.endStream))
    a.forget(id)
  },
  headersAgain: (a) => {
    const id = a.some
    a.client.send(headers(id, a.path()))
    a.forget(id)
  },
  starve: (a) => void a.client.starved.add(a.some),
  feed: (a) => {
    for (const id of a.client.starved) a.client.send(windowUpdate(id, 1 + a.dice.below(1_000)))
  },
  priority: (a) =>
    a.client.send(frame(Type.priority, 0, a.some, Buffer.from([0, 0, 0, 0, a.dice.below(256)]))),
  ping: (a) => a.client.send(ping()),
  unknown: (a) =>
    a.client.send(frame(20 + a.dice.below(200), a.dice.below(256), 0, a.dice.bytes(50))),
}

/** Actions that affect a whole session. */
const ON_SESSIONS: Record<string, Action> = {
  windows: (a) =>
    a.client.send(settings({ [Setting.initialWindowSize]: a.dice.pick([0, 1, 1_000, 65_535]) })),
  cut: (a) => {
    a.client.cut()
    a.over = true
  },
  leave: (a) => {
    a.client.destroy()
    a.over = true
  },
}

/** Actions that end a session by frames. */
const AGAINST_SESSIONS: Record<string, Action> = {
  goaway: (a) => {
    a.client.send(goaway(a.dice.pick(CODES)))
    a.over = a.dice.chance(0.5)
  },
  noIncrement: (a) => a.client.send(windowUpdate(a.dice.chance(0.5) ? a.some : 0, 0)),
  tooMuch: (a) => a.client.send(windowUpdate(a.some, 2 ** 31 - 1)),
  resetOfIdle: (a) => a.client.send(rstStream(100_001, 8)),
  // On newer Node lines this may end the session.
  withALength: (a) => {
    const id = a.open(connectFields({ 'content-length': a.dice.pick(['0', '7']) }))
    a.client.sendData(id, a.message())
  },
  randomBytes: (a) => a.client.send(a.dice.bytes(100)),
  randomFrame: (a) =>
    a.client.send(frame(a.dice.below(12), a.dice.below(256), a.dice.below(20), a.dice.bytes(60))),
  flippedBits: (a) => {
    const bytes = Buffer.concat([headers(a.client.next(), a.path()), data(a.some, a.message())])
    for (let i = 0; i < 3; i++) {
      const at = a.dice.below(bytes.length)
      bytes[at] = (bytes[at] as number) ^ (1 << a.dice.below(8))
    }
    a.client.send(bytes)
  },
  aboveTheWindow: (a) => {
    for (let i = 0; i < 6; i++) a.client.send(data(a.some, Buffer.alloc(16_000)))
  },
  afterTheEnd: (a) => {
    const id = a.some
    a.client.send(data(id, '', Flag.endStream), data(id, a.message()))
    a.forget(id)
  },
  aStreamOfTheServer: (a) => a.client.send(headers(2, a.path())),
  anOldStream: (a) => a.client.send(headers(1, a.path())),
  tooLarge: (a) => a.client.send(data(a.some, Buffer.alloc(17_000))),
  interrupted: (a) =>
    a.client.send(headers(a.client.next(), a.path(), 0), data(a.some, a.message())),
  badPing: (a) => a.client.send(frame(Type.ping, 0, 0, a.dice.bytes(7))),
  badSettings: (a) => a.client.send(frame(Type.settings, 0, 0, Buffer.alloc(1 + a.dice.below(5)))),
  manyResets: (a) => {
    for (let i = 0; i < 1_200; i++) {
      const id = a.client.next()
      a.client.send(headers(id, a.path()), rstStream(id, 8))
    }
  },
}

class Fuzz {
  readonly counts: Counts = {
    ...{ rounds: 0, sessions: 0, streams: 0, broken: 0, bystanders: 0, heard: 0, echoes: 0 },
    ...{ actions: {}, statuses: {}, resets: {} },
  }
  readonly wrong: string[] = []
  readonly #port: number
  readonly #dice: Dice
  #left = 0

  constructor(port: number, seed: number) {
    this.#port = port
    this.#dice = new Dice(seed)
  }

  blame = (what: string): void => {
    if (this.wrong.length < 20) this.wrong.push(what)
  }

  async run(rounds: number): Promise<void> {
    this.#left = rounds
    const timer = setInterval(() => log(`  ${this.counts.rounds} rounds`), 10_000)
    await Promise.all(Array.from({ length: LANES }, (_, i) => this.#lane(i % 2 === 0)))
    clearInterval(timer)
  }

  /** Runs one session after the other. */
  async #lane(shared: boolean): Promise<void> {
    while (this.#left > 0 && this.wrong.length < 20) {
      try {
        await this.#session(shared)
      } catch (error) {
        this.blame(`${shared ? 'beside a bystander' : 'alone'}: ${(error as Error).message}`)
      }
    }
  }

  async #session(shared: boolean): Promise<void> {
    const client = await RawHttp2.open(this.#port, { keep: false })
    const dice = new Dice(this.#dice.below(2 ** 31))
    const attacker = new Attacker(client, dice)
    const bystander = shared ? await Bystander.open(client, this.blame) : null
    client.onStream = (stream) => {
      if (stream.id === bystander?.id) bystander.hear()
      else stream.inner.length = 0
    }
    this.counts.sessions++
    const actions = Object.entries({
      ...ON_STREAMS,
      ...(shared ? {} : ON_SESSIONS),
      ...(!shared && SESSIONS ? AGAINST_SESSIONS : {}),
    })
    for (let i = 0; i < ROUNDS && this.#left > 0 && !attacker.over && !client.closed; i++) {
      // At times no stream is left to attack.
      if (attacker.live.length === 0) attacker.open(attacker.path())
      const rare = dice.chance(0.9) ? Object.keys(ON_STREAMS).length : actions.length
      const [name, act] = actions[dice.below(rare)] as [string, Action]
      act(attacker)
      this.#left--
      this.counts.rounds++
      count(this.counts.actions, name)
      if (dice.chance(0.2)) await new Promise((resolve) => setImmediate(resolve))
      if (dice.chance(0.05) && !client.closed && client.goaway === undefined) await pause(2)
    }
    await this.#end(client, bystander)
  }

  async #end(client: RawHttp2, bystander: Bystander | null): Promise<void> {
    const { counts } = this
    if (bystander) {
      counts.bystanders++
      if (client.closed || client.goaway !== undefined) {
        this.blame(`the session of a bystander was ended: GOAWAY ${client.goaway}`)
        bystander.stop()
      } else await bystander.leave()
      counts.heard += bystander.heard
      counts.echoes += bystander.echoes
    } else if (client.goaway !== undefined) counts.broken++
    for (const { status, reset } of client.streams.values()) {
      counts.streams++
      count(counts.statuses, status)
      if (reset !== undefined) count(counts.resets, reset)
    }
    if (!client.closed) client.destroy()
  }
}

// ---- the server

class Server {
  readonly port: number
  readonly #child: ChildProcess
  ended: number | string | null = null

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
    child.once('exit', (code, signal) => {
      this.ended = code ?? signal
    })
  }

  static async start(): Promise<Server> {
    const file = fileURLToPath(new URL('./support/http2-fuzz-server.ts', import.meta.url))
    const child = fork(file, { execArgv: ['--expose-gc', '--import=tsx'] })
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    return new Server(child, port)
  }

  async ask<T = FuzzReport>(question: FuzzQuestion = 'report'): Promise<T> {
    if (this.ended !== null) throw new Error(`the server has ended with ${this.ended}`)
    this.#child.send(question)
    const late = pause(60_000, null, { ref: false })
    const exit = once(this.#child, 'exit').then(() => null)
    const answered = await Promise.race([once(this.#child, 'message'), late, exit])
    if (answered === null) throw new Error(`no answer to ${question}`)
    return (answered[0] as { answer: T }).answer
  }

  /** Resolves when the server has released all attacked connections, or after PATIENCE. */
  async emptied(connections: number): Promise<FuzzReport> {
    const end = Date.now() + PATIENCE
    for (;;) {
      const report = await this.ask()
      const { status, sessions } = report
      const back = status.connections === connections && status.pending === 0
      if ((back && sessions <= QUIET_SESSIONS) || Date.now() > end) return report
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

async function run(rounds: number, seed: number): Promise<boolean> {
  log(`seed ${seed}, ${rounds} rounds`)
  const server = await Server.start()
  process.once('exit', () => server.kill())
  const fuzz = new Fuzz(server.port, seed)
  const { blame } = fuzz

  const quiet: Bystander[] = []
  const quietClients: RawHttp2[] = []
  for (let i = 0; i < QUIET_SESSIONS; i++) {
    const client = await RawHttp2.open(server.port, { keep: false })
    quietClients.push(client)
    const here: Bystander[] = []
    for (let j = 0; j < QUIET_SOCKETS; j++) here.push(await Bystander.open(client, blame))
    client.onStream = ({ id }) => here.find((one) => one.id === id)?.hear()
    quiet.push(...here)
  }
  await server.ask('publish')

  const warmUp = new Fuzz(server.port, seed + 1)
  await warmUp.run(WARM_UP)
  const before = await server.emptied(quiet.length)
  const began = performance.now()
  await fuzz.run(rounds)
  const seconds = Math.round((performance.now() - began) / 1_000)
  const after = await server.emptied(quiet.length)

  await server.ask('silence')
  const { published } = await server.ask()
  for (const bystander of quiet) await bystander.settled().catch((error) => blame(error.message))
  for (const { last } of quiet) {
    if (last !== published - 1) blame(`a bystander has heard up to ${last} of ${published - 1}`)
  }
  for (const what of [...warmUp.wrong, ...after.violations]) blame(what)
  for (const name of Object.keys(after.errors)) {
    if (!EXPECTED.has(name)) blame(`the application was told of ${name}`)
  }
  const { status, sessions } = after
  if (status.connections !== quiet.length || status.pending !== 0) {
    blame(`${status.connections} connections and ${status.pending} pending are left`)
  }
  if (sessions !== QUIET_SESSIONS) blame(`${sessions} sessions are left`)
  const left = after.heap - before.heap
  if (left > MOST_LEFT) blame(`${left} bytes of heap are left`)

  const closing = await server.ask<{ took: number; listening: boolean }>('close')
  if (closing.took > 5_000 || closing.listening) blame(`closing took ${closing.took} ms`)
  for (const { closeCode } of quiet) {
    if (closeCode !== 1012) blame(`a bystander was closed with ${closeCode}, not 1012`)
  }

  const { counts } = fuzz
  const result = {
    ok: fuzz.wrong.length === 0,
    wrong: fuzz.wrong,
    seed,
    seconds,
    ...counts,
    quiet: {
      sockets: quiet.length,
      published,
      lost: quiet.filter((q) => q.last !== published - 1).length,
    },
    accepted: after.accepted - before.accepted,
    heap: { before: before.heap, after: after.heap, left },
    'closing, ms': Math.round(closing.took),
    errors: after.errors,
    drops: after.status.drops,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  if (result.ok && rounds >= FULL && !SESSIONS) keepResult('http2-fuzz', result)
  for (const line of fuzz.wrong) log(line)
  for (const client of quietClients) client.destroy()
  return result.ok
}

runFuzz(FULL, run)
