import { createRequire } from 'node:module'
import { WebSocket } from 'ws'
import type { Contestant } from './redis-contestants.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))

/** The delay before a client reconnects, in milliseconds. */
const RETRY = 100

/** A time without a connection, in epoch milliseconds. */
export interface Away {
  readonly from: number
  /** Infinity while the client is away. */
  to: number
  /** Whether the server says that no message was missed; undefined when it says neither. */
  recovered: boolean | undefined
}

/** The messages of one publisher to one client, by number: the count, and the time of the first. */
export interface Got {
  readonly times: number[]
  readonly at: number[]
  last: number
}

/** A client in the room that keeps its messages, and reconnects. */
export abstract class Receiver {
  readonly node: number
  readonly got: Got[] = []
  readonly away: Away[] = []
  /** The times at which the server reported a loss. */
  readonly resyncs: number[] = []
  outOfOrder = 0
  /** Messages that no instance has published. */
  readonly strays: string[] = []
  #joined!: () => void
  readonly joined: Promise<void> = new Promise((resolve) => {
    this.#joined = resolve
  })

  constructor(node: number) {
    this.node = node
  }

  static open(contestant: Contestant, node: number, url: string): Receiver {
    return contestant === 'koaws' ? new KoawsReceiver(node, url) : new IoReceiver(node, url)
  }

  abstract close(): void

  protected isIn(): void {
    this.#joined()
    const away = this.away.at(-1)
    if (away && away.to === Number.POSITIVE_INFINITY) away.to = Date.now()
  }

  protected isOut(): void {
    if (this.away.at(-1)?.to === Number.POSITIVE_INFINITY) return
    this.away.push({ from: Date.now(), to: Number.POSITIVE_INFINITY, recovered: undefined })
  }

  protected take({ p, s }: { p: number; s: number }): void {
    this.got[p] ??= { times: [], at: [], last: -1 }
    const got = this.got[p]
    const before = got.times[s] ?? 0
    got.times[s] = before + 1
    if (before > 0) return
    got.at[s] = Date.now()
    if (s < got.last) this.outOfOrder++
    else got.last = s
  }
}

class KoawsReceiver extends Receiver {
  readonly #url: string
  #socket!: WebSocket
  #isOver = false

  constructor(node: number, url: string) {
    super(node)
    this.#url = url
    this.#open()
  }

  close(): void {
    this.#isOver = true
    this.#socket.terminate()
  }

  #open(): void {
    const socket = new WebSocket(this.#url, 'koaws.v1')
    this.#socket = socket
    let wasOpen = false
    socket.on('open', () => {
      wasOpen = true
    })
    socket.on('message', (text) => {
      const { type, data } = read(String(text))
      if (type === 'm' && Number.isInteger(data?.s)) this.take(data)
      else if (type === 'joined') this.isIn()
      else if (type === 'koaws:resync') this.resyncs.push(Date.now())
      else if (type !== 'koaws:welcome') this.strays.push(String(text).slice(0, 200))
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#isOver) return
      if (wasOpen) this.isOut()
      setTimeout(() => this.#open(), RETRY)
    })
  }
}

// biome-ignore lint/suspicious/noExplicitAny: whatever a server sends
function read(text: string): { type?: string; data?: any } {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    return {}
  }
}

interface IoClient {
  readonly recovered: boolean
  on(event: string, listener: (data: never) => void): void
  disconnect(): void
}

class IoReceiver extends Receiver {
  readonly #socket: IoClient

  constructor(node: number, url: string) {
    super(node)
    const { io } = peers('socket.io-client')
    const options = { reconnectionDelay: RETRY, reconnectionDelayMax: RETRY, forceNew: true }
    const socket: IoClient = io(url, { transports: ['websocket'], ...options })
    this.#socket = socket
    socket.on('connect', () => {
      const away = this.away.at(-1)
      if (away && away.recovered === undefined) away.recovered = socket.recovered
    })
    socket.on('joined', () => this.isIn())
    socket.on('m', (data) => this.take(data))
    socket.on('disconnect', (reason) => {
      if (reason !== 'io client disconnect') this.isOut()
    })
  }

  close(): void {
    this.#socket.disconnect()
  }
}
