import { createServer, type Server } from 'node:http'
import Koa from 'koa'
import koaWs, { type Adapter, accept, type Hub, messages } from '../../lib/index.ts'
import { socketPair } from '../../lib/testing/duplex-socket.ts'
import { handshake, RawClient, textFrame } from './raw.ts'
import type { Placed } from './recovery.ts'
import { turn } from './server.ts'

/** What a run came to. */
export interface SnapshotReport {
  interleavings: number
  published: number
  /** Messages that a snapshot held. */
  loaded: number
  /** Messages that the verdicts announced. */
  missed: number
  /** Messages that came over the connections. */
  delivered: number
  wrong: string[]
}

/** The size of a run. */
export interface SnapshotSize {
  /** Clients that load and connect at the same time. */
  clients: number
  /** Rooms of each client. */
  rooms: number
}

/** A room of one client: only this client is in it. */
interface Room {
  readonly name: string
  /** The instance that publishes all messages of the room, so that they have one order. */
  readonly hub: Hub
  /** The last number that was published; the numbers begin with 1. */
  last: number
  /** The last number that the client has. */
  got: number
  /** Whether the client loads the state of the application, and so may get messages again. */
  readonly isState: boolean
  position: string
}

interface Instance {
  readonly hub: Hub
  readonly server: Server
}

/**
 * Clients load the state of rooms by HTTP, and then connect with its position. Messages are published at random moments
 * in between. A client must get each message after its snapshot once and in order.
 */
export async function runSnapshots(
  adapters: readonly (Adapter | undefined)[],
  random: () => number,
  size: SnapshotSize,
): Promise<SnapshotReport> {
  const report: SnapshotReport = {
    interleavings: 0,
    published: 0,
    loaded: 0,
    missed: 0,
    delivered: 0,
    wrong: [],
  }
  const rooms = new Map<string, Room>()
  const instances = adapters.map((adapter) => instance(adapter, rooms))
  for (const { hub } of instances) {
    while (
      !(await hub
        .room('chat:up')
        .position()
        .catch(() => null))
    )
      await turn()
  }
  const visitors = Array.from(
    { length: size.clients },
    (_, i) => new Visitor(i, instances, rooms, random, report, size.rooms),
  )
  await Promise.all(visitors.map((one) => one.visit()))
  await Promise.all(instances.map(({ hub }) => hub.close({ timeout: 100 })))
  return report
}

function instance(adapter: Adapter | undefined, rooms: ReadonlyMap<string, Room>): Instance {
  const app = new Koa()
  app.silent = true
  const hub = koaWs({ adapter, heartbeat: false, history: { rooms: 'chat:*' } })
  app.use(hub)
  app.use(async (ctx, next) => {
    if (ctx.path === '/live') return next()
    const name = ctx.path.slice(1)
    const room = rooms.get(name) as Room
    if (room.isState) {
      // The position first, and then the state, as with a database.
      const position = await hub.room(name).position()
      ctx.body = { position, last: room.last }
    } else {
      const { messages: all, position, complete } = await hub.room(name).history()
      ctx.body = { position, complete, messages: all.map(({ data }) => data) }
    }
  })
  const user = (ctx: Koa.Context): string => String(ctx.query['user'])
  const entered = (ctx: Koa.Context): string[] => String(ctx.query['rooms']).split(',')
  app.use(accept(messages(), { user, rooms: entered }))
  return { hub, server: createServer(app.callback()) }
}

class Visitor {
  readonly #number: number
  readonly #instances: readonly Instance[]
  readonly #random: () => number
  readonly #report: SnapshotReport
  readonly #rooms: readonly Room[]
  /** Whether the last messages are being published. */
  #isOver = false

  constructor(
    number: number,
    instances: readonly Instance[],
    all: Map<string, Room>,
    random: () => number,
    report: SnapshotReport,
    rooms: number,
  ) {
    this.#number = number
    this.#instances = instances
    this.#random = random
    this.#report = report
    this.#rooms = Array.from({ length: rooms }, (_, i) => ({
      name: `chat:${number}-${i}`,
      hub: this.#pick(instances).hub,
      last: 0,
      got: 0,
      isState: random() < 0.3,
      position: '',
    }))
    for (const room of this.#rooms) all.set(room.name, room)
  }

  async visit(): Promise<void> {
    const http = this.#dial()
    for (const room of this.#rooms) await this.#load(http, room)
    http.socket.destroy()
    const socket = this.#dial()
    const names = this.#rooms.map(({ name }) => name).join(',')
    const path = `/live?user=${this.#number}&rooms=${names}`
    socket.write(handshake(path, { 'Sec-WebSocket-Protocol': 'koaws.v1, koaws.resume' }))
    await this.#disturb()
    await socket.answer()
    await this.#disturb()
    const positions = Object.fromEntries(this.#rooms.map(({ name, position }) => [name, position]))
    socket.write(textFrame(JSON.stringify({ type: 'koaws:resume', data: { positions } })))
    const receiving = this.#receive(socket)
    await this.#disturb()
    await turn()
    this.#isOver = true
    for (const room of this.#rooms) this.#publish(room, 1)
    await receiving
    socket.socket.destroy()
    this.#report.interleavings += this.#rooms.length
  }

  async #load(http: RawClient, room: Room): Promise<void> {
    this.#publish(room, this.#below(3))
    await this.#wait()
    this.#publish(room, this.#below(2))
    const request = `GET /${room.name} HTTP/1.1\r\nHost: localhost\r\n\r\n`
    http.write(request)
    this.#publish(room, this.#below(2))
    if (this.#random() < 0.5) await this.#wait()
    this.#publish(room, this.#below(2))
    let { status, body } = await http.answer()
    while (status !== 200) {
      await turn() // the engine is away
      http.write(request)
      ;({ status, body } = await http.answer())
    }
    const { position, last, messages: loaded, complete } = JSON.parse(body)
    room.position = position
    if (room.isState) room.got = last
    else {
      room.got = loaded.length
      const isWhole = loaded.every((number: number, i: number) => number === i + 1)
      if (!isWhole || !complete) this.#bad(room, `the snapshot has ${loaded}`)
    }
    this.#report.loaded += room.got
    this.#publish(room, this.#below(2))
  }

  /** Publishes in random rooms, in some turns. */
  async #disturb(): Promise<void> {
    for (let turns = this.#below(3); turns >= 0; turns--) {
      for (const room of this.#rooms) if (this.#random() < 0.2) this.#publish(room, 1)
      if (turns > 0) await this.#wait()
    }
  }

  /** Reads until each room has its last message, which is published at the end. */
  async #receive(socket: RawClient): Promise<void> {
    const rooms = new Map(this.#rooms.map((room) => [room.name, room]))
    const judged = new Set<Room>()
    const first = new Map<Room, number>()
    const open = new Set(this.#rooms)
    while (open.size > 0) {
      const { type, data, room: name } = JSON.parse(await socket.textFrame()) as Placed
      if (type === 'koaws:welcome') continue
      const about = (data ?? {}) as { room?: string; recovered?: boolean; missed?: number }
      const room = rooms.get(name ?? about.room ?? '') as Room
      if (type === 'koaws:recovered') {
        judged.add(room)
        if (about.recovered !== true) this.#bad(room, `refused: ${JSON.stringify(data)}`)
        this.#report.missed += about.missed ?? 0
      } else if (type === 'said') {
        if (!judged.has(room)) this.#bad(room, 'a message came before the verdict')
        const number = data as number
        // The state may be newer than the position, and then messages come again, once.
        const again = room.isState && !first.has(room) ? number <= room.got : false
        if (!again && number !== room.got + 1) this.#bad(room, `${number} follows ${room.got}`)
        first.set(room, number)
        room.got = number
        this.#report.delivered++
        if (number === room.last && this.#isOver) open.delete(room)
      } else this.#bad(room, `an unexpected ${type}`)
      if (this.#report.wrong.length > 20) return
    }
  }

  #publish(room: Room, many: number): void {
    for (let i = 0; i < many; i++) room.hub.room(room.name).push('said', ++room.last)
    this.#report.published += many
  }

  /** Lets the event loop turn, once or more. */
  async #wait(): Promise<void> {
    for (let turns = this.#below(4); turns > 0; turns--) await turn()
  }

  #dial(): RawClient {
    const [client, end] = socketPair()
    this.#pick(this.#instances).server.emit('connection', end)
    return new RawClient(client)
  }

  #bad(room: Room, what: string): void {
    this.#report.wrong.push(`${room.name}: ${what}`)
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T
  }
}
