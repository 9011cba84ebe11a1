import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { connect } from '../../../lib/client/index.ts'
import { type Contestant, type Numbered, ROOM } from './redis-contestants.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))

/** The bounds of the delay before a client reconnects, in milliseconds. */
const LEAST_DELAY = 100
const MOST_DELAY = 500

/** What happens to a client, in order. */
export type Happening =
  | ({ readonly is: 'message'; readonly at: number } & Numbered)
  /** The outcome of a recovery; positions are null with Socket.IO. */
  | {
      readonly is: 'verdict'
      readonly at: number
      readonly recovered: boolean
      readonly missed: number | null
      readonly reason: string | null
      /** The position of the client before it, and the one at which it goes on. */
      readonly from: string | null
      readonly to: string | null
      /** When the client lost its connection. */
      readonly since: number
    }

/** How often a client is away: never, for short times again and again, or for the whole fault. */
export type Habit = 'steady' | 'restless' | 'absent'

interface Address {
  readonly host: string
  readonly port: number
}

/** A port for one client. It leads to an instance that is chosen for each connection, and can be closed. */
export class Front {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isClosed = false
  /** How many connections were cut. */
  cuts = 0

  private constructor(choose: () => Address) {
    this.#server = createServer((socket) => {
      if (this.#isClosed) {
        socket.destroy()
        return
      }
      const { host, port } = choose()
      const other = connectTcp(port, host)
      for (const [one, its] of [
        [socket, other],
        [other, socket],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => one.destroy())
        one.on('close', () => {
          this.#sockets.delete(one)
          its.destroy()
        })
        one.pipe(its)
      }
    })
  }

  static async open(choose: () => Address): Promise<Front> {
    const front = new Front(choose)
    front.#server.listen(0, '127.0.0.1')
    await once(front.#server, 'listening')
    return front
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  /** Cuts the connections, and refuses others until `open()`. */
  close(): void {
    if (this.#sockets.size > 0) this.cuts++
    this.#isClosed = true
    for (const socket of this.#sockets) socket.destroy()
  }

  open(): void {
    this.#isClosed = false
  }

  end(): void {
    this.close()
    this.#server.close()
  }
}

/** A client in the room that keeps what happens to it, and comes back by itself. */
export abstract class RoomClient {
  readonly habit: Habit
  readonly happenings: Happening[] = []
  /** Errors that no message explains. */
  readonly problems: string[] = []
  /** How often it came back. */
  returns = 0
  #isIn = false
  #since = 0
  #joined!: () => void
  readonly joined: Promise<void> = new Promise((resolve) => {
    this.#joined = resolve
  })

  constructor(habit: Habit) {
    this.habit = habit
  }

  static open(contestant: Contestant, habit: Habit, url: string, user: string): RoomClient {
    return contestant === 'koaws'
      ? new KoawsRoomClient(habit, `${url}?user=${user}`)
      : new IoRoomClient(habit, url)
  }

  get isIn(): boolean {
    return this.#isIn
  }

  /** When it lost its connection, in epoch milliseconds. */
  protected get since(): number {
    return this.#since
  }

  abstract close(): void

  protected comes(): void {
    if (this.#isIn) return
    this.#isIn = true
    if (this.#since > 0) this.returns++
    this.#joined()
  }

  protected goes(): void {
    if (!this.#isIn) return
    this.#isIn = false
    this.#since = Date.now()
  }

  protected take({ p, s }: Numbered): void {
    this.happenings.push({ is: 'message', at: Date.now(), p, s })
  }
}

class KoawsRoomClient extends RoomClient {
  readonly #client: ReturnType<typeof connect>

  constructor(habit: Habit, url: string) {
    super(habit)
    const client = connect(url, {
      WebSocket: WebSocket as never,
      minDelay: LEAST_DELAY,
      maxDelay: MOST_DELAY,
      onError: (error) => this.problems.push(String(error)),
    })
    this.#client = client
    client.subscribe(() => {
      if (client.state.status !== 'open') this.goes()
    })
    client.on('joined', () => this.#hasPosition())
    client.on('m', (data) => this.take(data as Numbered))
    client.on('koaws:recovered', ({ recovered, missed, reason, position }) => {
      const from = client.positions[ROOM] ?? null
      const { since } = this
      const at = Date.now()
      const verdict = { recovered, missed, reason: reason ?? null, from, to: position ?? null }
      this.happenings.push({ is: 'verdict', at, ...verdict, since })
    })
    client.on('koaws:resync', () => this.problems.push('koaws:resync for a client with positions'))
  }

  close(): void {
    this.#client.close()
  }

  /** The room may be joined before its place is known. */
  #hasPosition(): void {
    if (this.#client.positions[ROOM] !== undefined) this.comes()
    else setTimeout(() => this.#hasPosition(), 10)
  }
}

interface Io {
  readonly recovered: boolean
  on(event: string, listener: (data: never) => void): void
  disconnect(): void
}

class IoRoomClient extends RoomClient {
  readonly #socket: Io

  constructor(habit: Habit, url: string) {
    super(habit)
    const { io } = peers('socket.io-client')
    const socket: Io = io(url, {
      transports: ['websocket'],
      forceNew: true,
      reconnectionDelay: LEAST_DELAY,
      reconnectionDelayMax: MOST_DELAY,
    })
    this.#socket = socket
    socket.on('connect', () => {
      const { since } = this
      if (since === 0) return
      const { recovered } = socket
      const nothing = { missed: null, reason: null, from: null, to: null }
      this.happenings.push({ is: 'verdict', at: Date.now(), recovered, since, ...nothing })
    })
    socket.on('joined', () => this.comes())
    socket.on('m', (data) => this.take(data))
    socket.on('disconnect', () => this.goes())
  }

  close(): void {
    this.#socket.disconnect()
  }
}
