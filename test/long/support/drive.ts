// Runs in Node and in a page, so it uses no API of either, and imports types only.
import type { Client, ConnectOptions, ProtocolDefinition } from '../../../lib/client/index.ts'

/** The options of a drive. */
export interface DriveOptions {
  readonly url: string
  readonly clients: number
  readonly types: readonly string[]
  /** The drive ends when this returns false. */
  readonly goOn: () => boolean
  readonly connect: (url: string, options: ConnectOptions) => Client<ProtocolDefinition>
  readonly options?: ConnectOptions
}

/** The result of a drive. */
export interface DriveReport {
  readonly requests: { asked: number; resolved: number; rejected: number; most: number }
  readonly pushes: Record<string, number>
  readonly heard: number
  /** How often each status was seen. */
  readonly statuses: Record<string, number>
  /** The errors in `onError`, by name and code. */
  readonly errors: Record<string, number>
  /** The rejections of requests, by name and code. */
  readonly rejections: Record<string, number>
  /** The largest number of simultaneous timers, without those of requests. */
  readonly timers: number
  /** The timers that are left at the end. */
  readonly timersLeft: number
  readonly violations: readonly string[]
}

type Counts = Record<string, number>

const STATUSES = ['connecting', 'open', 'waiting', 'stopped']
const TIMEOUT = 300
/** How late a request may settle on a busy machine, in milliseconds. */
const LATE = 5_000
/** How often it may be seen too late: each client looks in each of its turns. */
const LATE_LOOKS = 100

/** The files of the client: its source in Node, and the bundle. */
const OF_CLIENT = /lib\/client\/|koaws-client\.js/

/** Whether the code of the client calls: the server and ws set timers in this process too. */
function isOfClient(): boolean {
  const [, , , caller = ''] = (new Error('where').stack ?? '').split('\n')
  return OF_CLIENT.test(caller)
}

/** Counts the timers that the code of the clients sets. */
class Timers {
  readonly #live = new Set<unknown>()
  // Bound, because a browser requires the window as receiver.
  readonly #set = globalThis.setTimeout.bind(globalThis)
  readonly #clear = globalThis.clearTimeout.bind(globalThis)

  constructor() {
    const live = this.#live
    const set = this.#set
    const clear = this.#clear
    const counted = (
      fn: (...args: unknown[]) => void,
      ms?: number,
      ...args: unknown[]
    ): unknown => {
      if (!isOfClient()) return set(fn, ms, ...args)
      const timer = set(() => {
        live.delete(timer)
        fn(...args)
      }, ms)
      live.add(timer)
      return timer
    }
    globalThis.setTimeout = counted as typeof setTimeout
    globalThis.clearTimeout = ((timer: unknown) => {
      live.delete(timer)
      clear(timer as never)
    }) as typeof clearTimeout
  }

  get count(): number {
    return this.#live.size
  }

  /** Pauses with an uncounted timer. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#set(resolve, ms))
  }

  restore(): void {
    globalThis.setTimeout = this.#set as typeof setTimeout
    globalThis.clearTimeout = this.#clear
  }
}

/** Runs clients that request, push, listen, close and reconnect against a hostile server. */
export async function drive(options: DriveOptions): Promise<DriveReport> {
  const run = new Drive(options)
  await run.run()
  return run.report
}

class Drive {
  readonly report = {
    requests: { asked: 0, resolved: 0, rejected: 0, most: 0 },
    pushes: {} as Counts,
    heard: 0,
    statuses: {} as Counts,
    errors: {} as Counts,
    rejections: {} as Counts,
    timers: 0,
    timersLeft: 0,
    violations: [] as string[],
  }
  readonly #options: DriveOptions
  readonly #timers = new Timers()
  /** The requests that have not settled: since when, and how often they were seen too late. */
  readonly #waiting = new Map<object, { readonly since: number; late: number }>()

  constructor(options: DriveOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    const all = Array.from({ length: this.#options.clients }, (_, i) => this.#drive(i))
    const clients = await Promise.all(all)
    for (const client of clients) client.close()
    await this.#timers.pause(50)
    for (const client of clients) {
      if (client.state.status !== 'stopped') this.#wrong(`${client.state.status} after close()`)
    }
    if (this.#waiting.size > 0) this.#wrong(`${this.#waiting.size} requests never settled`)
    this.report.timersLeft = this.#timers.count
    this.#timers.restore()
  }

  async #drive(number: number): Promise<Client<ProtocolDefinition>> {
    const { url, connect, goOn } = this.#options
    const client = connect(url, {
      timeout: TIMEOUT,
      minDelay: 1,
      maxDelay: 20,
      token: TOKENS[number % TOKENS.length],
      tokenIn: number % 2 === 0 ? 'message' : 'handshake',
      onError: (error) => count(this.report.errors, nameOf(error)),
      ...(number % 3 === 0 && { retry: () => true }),
      ...this.#options.options,
    } as ConnectOptions)
    this.#listen(client)
    for (let i = 0; goOn(); i++) {
      this.#look(client)
      this.#act(client, i)
      await this.#timers.pause(2)
    }
    return client
  }

  #listen(client: Client<ProtocolDefinition>): void {
    for (const type of this.#options.types) {
      let heard = 0
      client.on(type, (data) => {
        this.report.heard++
        return RESULTS[heard++ % RESULTS.length]?.(data)
      })
      client.on(type, () => {
        if (heard % 50 === 0) throw new Error('a listener')
      })
    }
  }

  #look({ state }: Client<ProtocolDefinition>): void {
    const { status } = state
    count(this.report.statuses, status)
    if (!STATUSES.includes(status) || !Object.isFrozen(state)) this.#wrong(`a state ${status}`)
    const now = Date.now()
    for (const [request, waiting] of this.#waiting) {
      if (now - waiting.since < TIMEOUT + LATE) continue
      // After a long stop of the process, the timers of the requests may come after this one.
      if (++waiting.late < LATE_LOOKS) continue
      this.#waiting.delete(request)
      this.#wrong('a request was not settled in time')
    }
    const { requests } = this.report
    requests.most = Math.max(requests.most, this.#waiting.size)
    // Each request has one timer, and each step of a connection has one.
    const others = Math.max(0, this.#timers.count - this.#waiting.size)
    this.report.timers = Math.max(this.report.timers, others)
  }

  #act(client: Client<ProtocolDefinition>, i: number): void {
    const { status } = client.state
    if (status === 'stopped' || (status === 'waiting' && i % 5 === 0)) client.open()
    if (i % 2 === 0) this.#ask(client, i)
    if (i % 3 === 0) this.#push(client, i)
    if (i % 7 === 0) client.subscribe(() => {})()
    if (i % 11 === 0) client.on('news', () => {})()
    if (i % 997 === 996) client.close(3000, 'for a while')
  }

  #ask(client: Client<ProtocolDefinition>, i: number): void {
    const { requests, rejections } = this.report
    const controller = new AbortController()
    const asking = client.request('say', { text: `${i}` }, { signal: controller.signal })
    requests.asked++
    this.#waiting.set(asking, { since: Date.now(), late: 0 })
    const settled = (): void => void this.#waiting.delete(asking)
    asking.then(
      () => {
        requests.resolved++
        settled()
      },
      (error: unknown) => {
        requests.rejected++
        count(rejections, nameOf(error))
        settled()
      },
    )
    if (i % 10 === 0) controller.abort(new Error('not any more'))
  }

  #push(client: Client<ProtocolDefinition>, i: number): void {
    const text = i % 60 === 0 ? 'x'.repeat(70_000) : `${i}`
    try {
      count(this.report.pushes, client.push('typing', { text }))
    } catch (error) {
      count(this.report.pushes, nameOf(error))
    }
  }

  #wrong(what: string): void {
    if (this.report.violations.length < 20) this.report.violations.push(what)
  }
}

const TOKENS: ConnectOptions['token'][] = [
  () => 'ann',
  'ann',
  () => Promise.reject(new Error('no token')),
  undefined,
  () => null,
  () => 'ä token with spaces',
]

/** The results of listeners. */
const RESULTS: ((data: unknown) => unknown)[] = [
  (data) => data,
  () => undefined,
  () => 1n,
  () => Promise.reject(new Error('a secret')),
  () => Promise.reject(Object.assign(new Error('no'), { code: 'forbidden', status: 403 })),
  () => Promise.reject(null),
  () => 'x'.repeat(70_000),
  // biome-ignore lint/suspicious/noThenProperty: that is what it is about
  () => ({ then: 'nothing' }),
  () => {
    throw Object.defineProperty(new Error('x'), 'code', {
      get() {
        throw new Error('a trap')
      },
    })
  },
]

function nameOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error)
  try {
    const { name, code } = error as { name?: unknown; code?: unknown }
    const known = /^(ERR_KOAWS_[A-Z_]+|internal|forbidden)$/.test(String(code))
    return known ? `${name} ${code}` : `${name}`
  } catch {
    return 'an error that cannot be read'
  }
}

function count(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
