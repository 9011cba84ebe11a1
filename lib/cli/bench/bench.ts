// Opens clients, and measures handshakes and round trips.
import { setMaxListeners } from 'node:events'
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks'
import { WebSocket } from 'ws'
import { headerObject, type Target } from '../target.ts'
import { printable } from '../terminal.ts'

/** The bounds of a run. */
export interface BenchOptions {
  readonly target: Target
  readonly clients: number
  /** How long to measure round trips. */
  readonly seconds: number
  /** Round trips of each client per second. */
  readonly rate: number
  /** Measures pings, and sends no message. */
  readonly pingOnly: boolean
  readonly insecure: boolean
  /** Ends the run early; what was measured until then counts. */
  readonly signal: AbortSignal
}

/** The times of one kind, in milliseconds. */
export interface Times {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** What a run has measured. */
export interface BenchResult {
  readonly opened: number
  /** Handshakes per second while clients were opened. */
  readonly connectRate: number
  readonly connect: Times
  /** Whether round trips are echoed messages, or pings. */
  readonly trip: 'echo' | 'ping'
  readonly trips: Times
  /** The failures by reason. */
  readonly failures: Readonly<Record<string, number>>
  readonly interrupted: boolean
}

/** Handshakes at the same time. */
const AT_ONCE = 20
const HANDSHAKE_PATIENCE = 10_000
/** Milliseconds that a server has to echo the first message. */
const ECHO_PATIENCE = 1_000
/** A round trip that takes longer has failed. */
const TRIP_PATIENCE = 10_000
/** Reasons of failures that are kept apart. */
const MOST_REASONS = 50
const ECHO_TEXT = 'koaws bench'

/** Runs a benchmark. Holds at most `clients` sockets at a time, and closes all of them. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const run = new Bench(options)
  try {
    return await run.run()
  } finally {
    await run.close()
  }
}

/** One run. */
class Bench {
  readonly #options: BenchOptions
  readonly #clients = new Set<Client>()
  readonly #failures = new Map<string, number>()
  readonly #connect: RecordableHistogram = createHistogram()
  readonly #trips: RecordableHistogram = createHistogram()

  constructor(options: BenchOptions) {
    this.#options = options
  }

  async run(): Promise<BenchResult> {
    const { clients, signal, pingOnly } = this.#options
    const started = performance.now()
    let left = clients
    const worker = async (): Promise<void> => {
      while (left-- > 0 && !signal.aborted) await this.#openOne()
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, clients) }, worker))
    const connectRate = (1_000 * this.#connect.count) / Math.max(1, performance.now() - started)
    const [first] = this.#clients
    const echoes = !pingOnly && first !== undefined && (await first.echo(ECHO_PATIENCE))
    await this.#measure(echoes)
    return {
      opened: this.#connect.count,
      connectRate,
      connect: timesOf(this.#connect),
      trip: echoes ? 'echo' : 'ping',
      trips: timesOf(this.#trips),
      failures: Object.fromEntries([...this.#failures].toSorted(([, a], [, b]) => b - a)),
      interrupted: signal.aborted,
    }
  }

  /** Closes all sockets, and waits until they are gone. */
  async close(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.close()))
  }

  async #openOne(): Promise<void> {
    const client = new Client(this.#options, (reason) => this.#fail(reason))
    this.#clients.add(client)
    void client.gone.then(() => this.#clients.delete(client))
    const time = await client.opened
    if (time !== null) this.#connect.record(micros(time))
  }

  /** Each client makes round trips at the rate, one at a time, until the time is over. */
  async #measure(echoes: boolean): Promise<void> {
    const { seconds, rate, signal } = this.#options
    const over = new AbortController()
    setMaxListeners(0, over.signal)
    const stop = (): void => over.abort()
    const timer = setTimeout(stop, 1_000 * seconds)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const loop = async (client: Client, at: number): Promise<void> => {
      // Spread over the interval: all at once would measure a burst.
      await pause((1_000 / rate) * at, over.signal)
      while (!over.signal.aborted && client.isOpen) {
        const started = performance.now()
        const answered = await (echoes ? client.echo(TRIP_PATIENCE) : client.ping(TRIP_PATIENCE))
        const time = performance.now() - started
        if (answered) this.#trips.record(micros(time))
        else if (client.isOpen && !signal.aborted) this.#fail('no answer within 10 s')
        await pause(1_000 / rate - time, over.signal)
      }
    }
    const clients = [...this.#clients]
    await Promise.all(clients.map((client, at) => loop(client, at / clients.length)))
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }

  #fail(reason: string): void {
    const known = this.#failures.has(reason) || this.#failures.size < MOST_REASONS
    const key = known ? reason : 'other reasons'
    this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1)
  }
}

/** One WebSocket of a run. Its promises settle when it ends. */
class Client {
  /** Milliseconds of the handshake; null when it failed. */
  readonly opened: Promise<number | null>
  /** Settles when the socket is closed. */
  readonly gone: Promise<void>
  readonly #socket: WebSocket
  #waiting: ((answered: boolean) => void) | null = null
  #awaited = ''
  #next = 0
  #ending = false

  constructor({ target, signal, insecure }: BenchOptions, fail: (reason: string) => void) {
    const started = performance.now()
    const socket = new WebSocket(
      `${target.secure ? 'wss' : 'ws'}://${target.authority}${target.path}`,
      [...target.protocols, ...target.bearers],
      {
        origin: target.origin,
        headers: headerObject(target.headers),
        handshakeTimeout: HANDSHAKE_PATIENCE,
        perMessageDeflate: false,
        followRedirects: false,
        maxPayload: 1_048_576,
        rejectUnauthorized: !insecure,
      },
    )
    this.#socket = socket
    // Each client counts once, with the first reason.
    const failOnce = (reason: string): void => {
      if (!this.#ending && !signal.aborted) fail(reason)
      this.#ending = true
    }
    this.opened = new Promise((resolve) => {
      socket.on('open', () => resolve(performance.now() - started))
      socket.on('close', () => resolve(null))
    })
    this.gone = new Promise((resolve) => {
      socket.on('close', (code) => {
        signal.removeEventListener('abort', abort)
        failOnce(`closed with ${code}`)
        this.#settle(false)
        resolve()
      })
    })
    const abort = (): void => void this.close()
    signal.addEventListener('abort', abort, { once: true })
    socket.on('unexpected-response', (request, response) => {
      failOnce(`status ${response.statusCode ?? 0}`)
      response.destroy()
      request.destroy()
      socket.terminate()
    })
    socket.on('error', (error) => failOnce(reasonOf(error)))
    socket.on('message', (data) => {
      if (String(data) === this.#awaited) this.#settle(true)
    })
    socket.on('pong', (data) => {
      if (String(data) === this.#awaited) this.#settle(true)
    })
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  /** Sends a message, and waits for the same one. */
  echo(patience: number): Promise<boolean> {
    return this.#trip(patience, (text) => this.#socket.send(text, () => {}))
  }

  /** Sends a ping, and waits for its pong. */
  ping(patience: number): Promise<boolean> {
    return this.#trip(patience, (text) => this.#socket.ping(text, true, () => {}))
  }

  /** Closes, and cuts after a second. */
  async close(): Promise<void> {
    this.#ending = true
    this.#settle(false)
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.terminate()
    else this.#socket.close(1000)
    const timer = setTimeout(() => this.#socket.terminate(), 1_000)
    await this.gone
    clearTimeout(timer)
  }

  #trip(patience: number, send: (text: string) => void): Promise<boolean> {
    if (!this.isOpen) return Promise.resolve(false)
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#settle(false), patience)
      this.#awaited = `${ECHO_TEXT} ${++this.#next}`
      this.#waiting = (answered) => {
        clearTimeout(timer)
        resolve(answered)
      }
      send(this.#awaited)
    })
  }

  #settle(answered: boolean): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.(answered)
  }
}

/** Returns whole microseconds, at least 1: a histogram takes nothing less. */
function micros(ms: number): number {
  return Math.max(1, Math.round(1_000 * ms))
}

function timesOf(histogram: RecordableHistogram): Times {
  const { count } = histogram
  const at = (percentile: number): number =>
    count === 0 ? 0 : histogram.percentile(percentile) / 1_000
  return { count, p50: at(50), p99: at(99), max: count === 0 ? 0 : histogram.max / 1_000 }
}

/** Returns a reason without the values of the command line: ws and Node may quote them. */
function reasonOf(error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code
  return printable(error.message, 80)
}

/** Waits, at most until the signal. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
