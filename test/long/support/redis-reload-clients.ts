import { createRequire } from 'node:module'
import { WebSocket } from 'ws'
import { connect } from '../../../lib/client/index.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))

/** A message: its publisher, and its number there. */
export interface Said {
  readonly p: number
  readonly s: number
  readonly room: string
}

/** The answer of a server to a message. */
export interface Answer {
  readonly at: number
  /** The verdict of koaws. */
  readonly verdict?: string
  /** The position in the history of the room, where it has one. */
  readonly position?: string
  /** The worker that published, and its age in seconds. */
  readonly pid: number
  readonly age: number
}

/** A time outside of the room, in epoch milliseconds. */
export interface Absence {
  /** When the client saw the end of its connection, or when its worker was told to stop. */
  from: number
  to: number
  /** Whether missed messages arrive later. */
  recovered: boolean
  /** Whether the server has said that they do not. */
  refused: boolean
  /** The reason that the library gives. */
  readonly why: string
}

/** A client in one room that publishes there, and reconnects by itself. */
export abstract class ReloadClient {
  readonly room: string
  /** The number of deliveries per message. */
  readonly got: Map<string, number> = new Map()
  readonly absences: Absence[] = []
  /** The times at which the server reported a loss. */
  readonly resyncs: number[] = []
  /** The workers of its connections, with the time of each connection. */
  readonly workers: { readonly pid: number; readonly at: number }[] = []
  #isIn = false
  /** Whether the server has said, on this connection, what becomes of the last absence. */
  #isJudged = true
  #joinedAt = 0

  constructor(room: string) {
    this.room = room
  }

  /** @param user limits recoveries of koaws: all clients have the same address */
  static open(contestant: string, port: number, room: string, user: number): ReloadClient {
    return contestant.startsWith('koaws')
      ? new KoawsClient(port, room, user)
      : new SocketIoClient(port, room)
  }

  get isIn(): boolean {
    return this.#isIn
  }

  /** When the client joined its room for the first time. */
  get joinedAt(): number {
    return this.#joinedAt
  }

  /** Moves the start of each absence to the time at which its worker was told to stop. */
  correct(ends: ReadonlyMap<number, number>): void {
    for (const [i, absence] of this.absences.entries()) {
      const end = ends.get(this.workers[i]?.pid ?? 0)
      if (end !== undefined && end < absence.from) absence.from = end
    }
    // A connection that ended before the verdict: that of the next one is about both absences.
    for (let i = this.absences.length - 2; i >= 0; i--) {
      const [absence, next] = this.absences.slice(i) as [Absence, Absence]
      if (!absence.refused && next.recovered) absence.recovered = true
    }
  }

  abstract say(said: Said): Promise<Answer>
  abstract close(): void

  /** The client has joined its room. */
  protected comes(pid: number): void {
    if (this.#isIn) return
    this.#isIn = true
    const now = Date.now()
    this.workers.push({ pid, at: now })
    if (this.#joinedAt === 0) this.#joinedAt = now
    const last = this.absences.at(-1)
    if (last) last.to = now
  }

  /** A connection has opened: the server will say whether missed messages follow. */
  protected begins(): void {
    this.#isJudged = false
  }

  /** The server has said so. Later on the same connection, a refusal reports a loss. */
  protected judged(recovered: boolean): void {
    const last = this.absences.at(-1)
    if (last && !this.#isJudged) {
      // After a refusal, a second connection in the same absence recovers from a later position.
      if (!recovered) last.refused = true
      last.recovered = recovered && !last.refused
    } else if (last && !recovered) this.resyncs.push(Date.now())
    this.#isJudged = true
  }

  protected goes(why: string): void {
    if (!this.#isIn) return
    this.#isIn = false
    const rest = { recovered: false, refused: false, why }
    this.absences.push({ from: Date.now(), to: Number.POSITIVE_INFINITY, ...rest })
  }

  protected takes({ p, s }: Said): void {
    const key = `${p}:${s}`
    this.got.set(key, (this.got.get(key) ?? 0) + 1)
  }
}

class KoawsClient extends ReloadClient {
  readonly #client: ReturnType<typeof connect>

  constructor(port: number, room: string, user: number) {
    super(room)
    const client = connect(`ws://127.0.0.1:${port}/?room=${room}&user=${user}`, {
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
      if (status === 'open') this.begins()
      else this.goes(String(code))
    })
    client.on('joined', (pid) => this.comes(Number(pid)))
    client.on('koaws:recovered', ({ recovered }) => this.judged(recovered))
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
    socket.on('connect', () => {
      this.begins()
      this.judged(socket.recovered)
    })
    socket.on('joined', (pid) => this.comes(Number(pid)))
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
