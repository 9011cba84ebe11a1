import { createRequire } from 'node:module'
import { WebSocket } from 'ws'
import { connect } from '../../../lib/client/index.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))

/** Of a message, by who published it and its number there. */
export interface Said {
  readonly p: number
  readonly s: number
  readonly room: string
}

/** What a server answers to a message. */
export interface Answer {
  readonly at: number
  /** What koaws says of it. */
  readonly verdict?: string
  /** The worker that published it, and for how many seconds that had run. */
  readonly pid: number
  readonly age: number
}

/** When a client was not in its room, in epoch milliseconds. */
export interface Absence {
  /** Until its worker's own time is known, when it saw the end of its connection. */
  from: number
  to: number
  /** What was missed comes later. */
  recovered: boolean
  /** Why it left, as the library says. */
  readonly why: string
}

/** A client in one room, that publishes there and comes back by itself. */
export abstract class ReloadClient {
  readonly room: string
  /** How often each message came. */
  readonly got: Map<string, number> = new Map()
  readonly absences: Absence[] = []
  /** When the server said that something was missed. */
  readonly resyncs: number[] = []
  /** The workers that it was connected to, and since when. */
  readonly workers: { readonly pid: number; readonly at: number }[] = []
  #isIn = false
  #joinedAt = 0

  constructor(room: string) {
    this.room = room
  }

  static open(contestant: string, port: number, room: string): ReloadClient {
    return contestant.startsWith('koaws')
      ? new KoawsClient(port, room)
      : new SocketIoClient(port, room)
  }

  get isIn(): boolean {
    return this.#isIn
  }

  /** Since when it is in its room for the first time. */
  get joinedAt(): number {
    return this.#joinedAt
  }

  /** It was away from when its worker was told to stop. */
  correct(ends: ReadonlyMap<number, number>): void {
    for (const [i, absence] of this.absences.entries()) {
      const end = ends.get(this.workers[i]?.pid ?? 0)
      if (end !== undefined && end < absence.from) absence.from = end
    }
  }

  abstract say(said: Said): Promise<Answer>
  abstract close(): void

  protected comes(pid: number, recovered: boolean): void {
    if (this.#isIn) return
    this.#isIn = true
    const now = Date.now()
    this.workers.push({ pid, at: now })
    if (this.#joinedAt === 0) this.#joinedAt = now
    const last = this.absences.at(-1)
    if (last) Object.assign(last, { to: now, recovered })
  }

  protected goes(why: string): void {
    if (!this.#isIn) return
    this.#isIn = false
    this.absences.push({ from: Date.now(), to: Number.POSITIVE_INFINITY, recovered: false, why })
  }

  protected takes({ p, s }: Said): void {
    const key = `${p}:${s}`
    this.got.set(key, (this.got.get(key) ?? 0) + 1)
  }
}

class KoawsClient extends ReloadClient {
  readonly #client: ReturnType<typeof connect>

  constructor(port: number, room: string) {
    super(room)
    const client = connect(`ws://127.0.0.1:${port}/?room=${room}`, {
      WebSocket: WebSocket as never,
      minDelay: 100,
      maxDelay: 500,
      queue: false,
      timeout: 5_000,
      onError: () => {},
    })
    this.#client = client
    client.subscribe(() => {
      const { status, code } = client.state
      if (status !== 'open') this.goes(String(code))
    })
    client.on('joined', (pid) => this.comes(Number(pid), false))
    client.on('m', (data) => this.takes(data as Said))
    client.on('koaws:resync' as never, () => {
      this.resyncs.push(Date.now())
    })
  }

  async say(said: Said): Promise<Answer> {
    return (await this.#client.request('say', said)) as Answer
  }

  close(): void {
    this.#client.close()
  }
}

interface Io {
  readonly recovered: boolean
  on(event: string, listener: (data: never) => void): void
  timeout(ms: number): { emitWithAck(event: string, data: unknown): Promise<Answer> }
  disconnect(): void
}

class SocketIoClient extends ReloadClient {
  readonly #socket: Io

  constructor(port: number, room: string) {
    super(room)
    const { io } = peers('socket.io-client')
    const socket: Io = io(`ws://127.0.0.1:${port}/`, {
      transports: ['websocket'],
      query: { room },
      forceNew: true,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
    })
    this.#socket = socket
    let recovered = false
    socket.on('connect', () => {
      recovered = socket.recovered
    })
    socket.on('joined', (pid) => this.comes(Number(pid), recovered))
    socket.on('m', (data: Said) => this.takes(data))
    socket.on('disconnect', (why: string) => this.goes(why))
  }

  say(said: Said): Promise<Answer> {
    return this.#socket.timeout(5_000).emitWithAck('say', said)
  }

  close(): void {
    this.#socket.disconnect()
  }
}
