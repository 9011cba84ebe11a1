import { placeOf } from '../../lib/history/place.ts'
import type { Place } from '../../lib/history/store.ts'
import type { Adapter, Connection, Hub } from '../../lib/index.ts'
import type { TestApp, TestSocket } from '../../lib/testing/index.ts'
import type { Placed } from './recovery.ts'

/** An engine of the model. */
export interface RecoveryEngine {
  /** Makes the adapter of one instance. */
  adapter(number: number): Promise<Adapter>
  /** Returns whether an entry with this key was recorded at a place; undefined where the engine cannot tell. */
  knows(log: string, place: Place): boolean | undefined
  /** Returns whether an entry was lost after it had been recorded: its publisher may record it again. */
  lost(log: string, place: Place): boolean
  /** Does some damage, or nothing. */
  harm(random: (below: number) => number, hubs: readonly string[], logs: readonly string[]): void
  /** An instance is about to die: its adapter reaches the engine no more. It leaves in order without this. */
  kill?(adapter: Adapter): void
  /** The longest wait between two steps, in milliseconds. @default 4 */
  readonly pace?: number
  /** Ends all damage. */
  heal(): void
  /** Removes what the engine has made. */
  close?(): void
}

/** What one schedule came to. */
export interface RecoveryReport {
  wrong: string[]
  published: number
  delivered: number
  recovered: number
  refused: Record<string, number>
  told: number
  /** Instances that ended while the schedules ran. */
  replaced: number
}

/** One instance of the model. */
export interface Instance {
  readonly adapter: Adapter
  readonly hub: Hub
  readonly test: TestApp
  readonly clients: Set<ModelClient>
}

/** The most ids of former connections that a client presents. */
const PREVIOUS = 8

/** A client that keeps its positions, and checks what it gets. */
export class ModelClient {
  readonly #name: string
  readonly #engine: RecoveryEngine
  readonly #report: RecoveryReport
  /** What it has published itself, excluding its own connection. */
  readonly #sent = new Map<number, number>()
  #socket: TestSocket | null = null
  #instance: Instance | null = null
  #connections = 0
  #id = ''
  readonly #ids: string[] = []
  readonly #positions = new Map<string, Place & { text: string }>()
  /** The messages that came last, by their place, or by the id of a message to several rooms. */
  readonly #recent: string[] = []
  /** The numbers that have come, and where. */
  readonly #got = new Map<number, Place & { room: string }>()
  #rooms = new Set<string>()

  constructor(name: string, engine: RecoveryEngine, report: RecoveryReport) {
    this.#name = name
    this.#engine = engine
    this.#report = report
  }

  /** It sends a message, which excludes the connection that it has. */
  sends(number: number): void {
    this.#sent.set(number, this.#ids.length)
  }

  /** Whether it has a position in each of its rooms. */
  get isPlaced(): boolean {
    return [...this.#rooms].every((room) => this.#positions.has(room))
  }

  get isConnected(): boolean {
    return this.#socket !== null
  }

  async connect(to: Instance, rooms: string[]): Promise<void> {
    for (const room of [...this.#positions.keys()])
      if (!rooms.includes(room)) this.#positions.delete(room)
    this.#rooms = new Set(rooms)
    const protocols = ['koaws.v1', 'koaws.resume']
    const user = `${this.#name}-${Math.floor(this.#connections++ / 50)}`
    const path = `/?user=${user}&rooms=${rooms.join(',')}`
    const socket = await to.test.connect(path, { protocols }).catch(() => null)
    if (!socket) return // the instance has ended
    this.#socket = socket
    this.#instance = to
    to.clients.add(this)
    const positions = Object.fromEntries(
      [...this.#positions].map(([room, { text }]) => [room, text]),
    )
    socket.send(
      JSON.stringify({
        type: 'koaws:resume',
        data: { previous: this.#ids.slice(-PREVIOUS), positions },
      }),
    )
    void this.#read(socket)
  }

  /** What has arrived and was not read before a cut is lost, as on a network. */
  async #read(socket: TestSocket): Promise<void> {
    try {
      for (;;) {
        const message = (await socket.nextJson()) as Placed
        if (this.#socket !== socket) return
        this.#take(message)
      }
    } catch {
      if (this.#socket === socket) this.cut() // the connection has ended
    }
  }

  cut(): void {
    this.#instance?.clients.delete(this)
    this.#socket?.terminate()
    this.#socket = null
  }

  ownConnection(instances: readonly Instance[]): Connection | undefined {
    for (const { hub } of instances) {
      const connection = hub.localConnections.get(this.#id)
      if (connection) return connection
    }
    return undefined
  }

  toggle(room: string): void {
    const connection = this.#instance?.hub.localConnections.get(this.#id)
    if (!connection || !this.#socket) return
    if (this.#rooms.delete(room)) connection.leave(room)
    else {
      this.#rooms.add(room)
      void connection.join(room)
    }
  }

  /** Returns in which of its rooms it is not at the top. */
  behind(tops: ReadonlyMap<string, Place | null>): string[] {
    const all: string[] = []
    for (const room of this.#rooms) {
      const top = tops.get(room)
      if (!top) return [`the top of ${room} is unknown`]
      const place = this.#positions.get(room)
      if (place?.epoch === top.epoch && place.offset === top.offset && place.key === top.key)
        continue
      if (place?.offset === 0 && top.offset === 0) continue
      all.push(
        `client ${this.#name} is at ${place?.text} in ${room}, which is at ${JSON.stringify(top)}`,
      )
    }
    return all
  }

  #bad(what: string): void {
    if (this.#report.wrong.length < 5) this.#report.wrong.push(`client ${this.#name}: ${what}`)
  }

  #take(message: Placed): void {
    const { type } = message
    const data = (message.data ?? {}) as { room?: string; position?: string; recovered?: boolean }
    if (type === 'koaws:welcome') {
      this.#id = (message.data as { connection: string }).connection
      this.#ids.push(this.#id)
    } else if (type === 'koaws:position') {
      this.#report.told++
      this.#set(data.room, data.position)
    } else if (type === 'koaws:left') this.#positions.delete(data.room ?? '')
    else if (type === 'koaws:recovered') this.#judged(message)
    else if (type === 'koaws:at') this.#moved(data.room, data.position)
    else if (type === 'said') this.#said(message)
    else if (type === 'koaws:bye')
      return // its instance ends
    else if (type !== 'koaws:resync' || (data as { room: unknown }).room !== null)
      this.#bad(`an unexpected ${JSON.stringify(message)}`)
  }

  #judged({ data }: Placed): void {
    const { room, position, recovered, reason } = data as Record<string, string> & {
      recovered: boolean
    }
    if (recovered) {
      this.#report.recovered++
      if (!this.#positions.has(room ?? '')) this.#bad(`${room} was recovered from nowhere`)
      return
    }
    this.#report.refused[String(reason)] = (this.#report.refused[String(reason)] ?? 0) + 1
    this.#set(room, position)
  }

  #said({ data, room, position, once }: Placed): void {
    const number = data as number
    if (!this.#moved(room, position)) return
    // An instance may be behind what this client has got from another, in an earlier stay.
    const id = once ?? `${room} ${position}`
    if (this.#recent.includes(id)) return
    this.#recent.push(id)
    if (this.#recent.length > 256) this.#recent.shift()
    if (number <= 0) return
    this.#report.delivered++
    const place = placeOf(position) as Place
    const before = this.#got.get(number)
    if (before && !this.#engine.lost(`room:${before.room}`, before)) {
      this.#bad(`${number} came twice, now in ${room} at ${position}`)
    }
    this.#got.set(number, { ...place, room: room ?? '' })
    const by = this.#sent.get(number)
    if (by !== undefined && this.#ids.length - by <= PREVIOUS) {
      this.#bad(`its own message ${number} came back`)
    }
  }

  #moved(room = '?', position = ''): boolean {
    const place = placeOf(position)
    const before = this.#positions.get(room)
    if (!place || !before) {
      this.#bad(`a message at ${position} in ${room} before its position`)
      return false
    }
    const isBirth = before.offset === 0 && before.epoch.length === 9
    const isNext = place.offset === before.offset + 1 && (isBirth || place.epoch === before.epoch)
    if (!isNext) this.#bad(`${position} follows ${before.text} in ${room}`)
    if (this.#engine.knows(`room:${room}`, place) === false)
      this.#bad(`${position} was never recorded`)
    this.#set(room, position)
    return true
  }

  #set(room = '?', position = ''): void {
    const place = placeOf(position)
    if (place) this.#positions.set(room, { ...place, text: position })
    else this.#bad(`${position} is no position`)
  }
}
