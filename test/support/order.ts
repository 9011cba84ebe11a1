import { once } from 'node:events'
import { expect } from 'chai'
import { type ClientOptions, WebSocket } from 'ws'
import {
  type Audience,
  accept,
  type Connection,
  type Delivery,
  type KoaWsOptions,
} from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { deferred, openSocket, type Site, serve, turn } from './server.ts'

// ---- a site with members that are known from both sides

/** Both ends of one connection. */
export interface Guest {
  readonly socket: TestSocket
  readonly connection: Connection
}

/** The way a guest connects. */
export interface Entrance {
  /** `/v1` speaks koaws.v1, `/outside` is in no audience, anything else is ordinary. */
  path?: '/' | '/v1' | '/outside'
  user?: string | number
  rooms?: string[]
  /** Options of ws's client. */
  client?: ClientOptions
}

/** A site with a function that connects guests. */
export interface House extends Site {
  enter(entrance?: Entrance): Promise<Guest>
}

/** Serves a site that takes the user and the rooms of a guest from the query. */
export async function house(
  options: KoaWsOptions = {},
  handler: (connection: Connection) => unknown = () => {},
  after: (app: Site['app'], hub: Site['hub']) => void = () => {},
): Promise<House> {
  const arrivals = new Map<string, (connection: Connection) => void>()
  let guests = 0
  const common = {
    user: (ctx: { query: { user?: unknown } }) => ctx.query.user as string | undefined,
  }
  const rooms = (ctx: { query: { rooms?: unknown } }): string[] =>
    ctx.query.rooms === undefined ? [] : JSON.parse(String(ctx.query.rooms))
  const welcome = (connection: Connection): unknown => {
    arrivals.get(String(connection.query['n']))?.(connection)
    return handler(connection)
  }
  const site = await serve((app, hub) => {
    app.use(hub.route('/v1', accept(welcome, { ...common, rooms, subprotocol: 'koaws.v1' })))
    app.use(hub.route('/outside', accept(welcome, { ...common, hub: false })))
    app.use(hub.route('/', accept(welcome, { ...common, rooms })))
    after(app, hub)
  }, options)
  return {
    ...site,
    async enter({ path = '/', user, rooms: into, client } = {}) {
      const n = String(guests++)
      const arrived = deferred<Connection>()
      arrivals.set(n, arrived.resolve)
      const query = new URLSearchParams({ n })
      if (user !== undefined) query.set('user', String(user))
      if (into) query.set('rooms', JSON.stringify(into))
      const protocols = path === '/v1' ? ['koaws.v1'] : []
      const options: Record<string, unknown> = { ...client }
      const socket = await openSocket(site.port, `${path}?${query}`, { protocols, ...options })
      return { socket, connection: await arrived.promise }
    },
  }
}

/**
 * Enters, and waits until the subscriptions of the rooms hold; `accept()` does not wait for them.
 */
export async function enterAndHold(
  where: House,
  { rooms = [], ...entrance }: NonNullable<Parameters<House['enter']>[0]>,
): Promise<Guest> {
  const guest = await where.enter(entrance)
  await guest.connection.join(...rooms)
  return guest
}

/**
 * Returns the messages so far, up to a mark that is sent now; a late message would follow the
 * mark.
 */
export async function received({ socket, connection }: Guest): Promise<(string | Buffer)[]> {
  const mark = '--- mark ---'
  connection.send(mark)
  const messages: (string | Buffer)[] = []
  for (;;) {
    const message = await socket.next()
    if (message === mark) return messages
    messages.push(message)
  }
}

/** Expects that each guest has got exactly these messages. */
export async function expectReceived(
  guests: readonly Guest[],
  ...messages: (string | Buffer)[]
): Promise<void> {
  for (const guest of guests) expect(await received(guest)).to.deep.equal(messages)
}

// ---- random interleavings

/** Returns a small generator of numbers in [0, 1), the same for the same seed. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** The size of a run. */
export interface OrderOptions {
  seed: number
  operations: number
  connections: number
  rooms: number
  /** Whether the server keeps the context of deflate between messages. */
  takeover?: boolean
}

/** The result of a run. */
export interface OrderReport {
  readonly seed: number
  readonly operations: number
  readonly deliveries: number
  /** Connections that were opened in all. */
  readonly connections: number
  /** The mistakes, one sentence each. */
  readonly mismatches: readonly string[]
}

/** A message as it is sent and must arrive. */
type Message = string | Buffer

/** The compression of each kind of client. */
const KINDS: Record<string, ClientOptions['perMessageDeflate']> = {
  plain: false,
  deflate: true,
  window10: { serverMaxWindowBits: 10 },
  blob: false,
}
const KIND_NAMES = ['plain', 'deflate', 'plain', 'deflate', 'window10', 'blob']

/** With more messages in transit the run waits for the clients. */
const MOST_UNDERWAY = 4_000
const PATIENCE = 20_000
const LETTERS = 'abcdefghijklmnopqrstuvwxyzäöü€' // one UTF-16 unit each, so that a text can be cut anywhere

/** One connection from both ends, with the messages that its client must get. */
class Peer {
  readonly rooms = new Set<string>()
  readonly expected: Message[] = []
  seen = 0
  checked = 0
  open = true
  /** The client has seen the end. */
  ended = false
  broken = false
  /** Parts of an incomplete message; `held` has the messages that wait for its end. */
  parts: Message[] | null = null
  held: Message[] = []
  readonly name: string
  readonly user: string
  readonly kind: string
  readonly socket: WebSocket
  readonly connection: Connection

  constructor(name: string, user: string, kind: string, socket: WebSocket, connection: Connection) {
    this.name = name
    this.user = user
    this.kind = kind
    this.socket = socket
    this.connection = connection
  }
}

/**
 * Runs random operations on connections of one hub, and computes the messages that each client
 * must get. The seed alone determines the operations; the run checks the order on the wire.
 */
class OrderRun {
  readonly mismatches: string[] = []
  deliveries = 0
  #underway = 0
  #opened = 0
  #sent = 0
  #operation = ''
  readonly #options: OrderOptions
  readonly #random: () => number
  readonly #site: Site
  readonly #arrivals: Map<string, (connection: Connection) => void>
  readonly #rooms: string[]
  readonly #users: string[]
  #peers: Peer[] = []

  constructor(
    options: OrderOptions,
    site: Site,
    arrivals: Map<string, (connection: Connection) => void>,
  ) {
    this.#options = options
    this.#random = mulberry32(options.seed)
    this.#site = site
    this.#arrivals = arrivals
    this.#rooms = Array.from({ length: options.rooms }, (_, i) => `room ${i}`)
    const users = Math.max(2, Math.ceil(options.connections / 3))
    this.#users = Array.from({ length: users }, (_, i) => `user ${i}`)
  }

  get opened(): number {
    return this.#opened
  }

  async run(): Promise<void> {
    for (let i = 0; i < this.#options.connections; i++) await this.#enter()
    for (let i = 0; i < this.#options.operations; i++) {
      if (this.mismatches.length > 20) return
      await this.#operate(i)
      if (this.#underway > MOST_UNDERWAY) await this.#settle(MOST_UNDERWAY / 4)
    }
    this.#operation = 'the end'
    for (const peer of this.#peers) {
      if (!peer.open) continue
      if (peer.parts) this.#part(peer, true)
      this.#expect(peer, 'the end')
      peer.connection.send('the end')
    }
    await this.#settle(0)
    for (const { socket } of this.#peers) socket.terminate()
  }

  async #operate(number: number): Promise<void> {
    const { hub } = this.#site
    const dice = this.#random() * 1000
    let rooms: string[]
    if (dice < 300) {
      rooms = [this.#pick(this.#rooms)]
      this.#operation = `${number}: room(${rooms})`
      this.#broadcast(hub.room(...rooms), (peer) => inAny(peer, rooms))
    } else if (dice < 400) {
      rooms = this.#some(this.#rooms, 3)
      this.#operation = `${number}: room(${rooms})`
      this.#broadcast(hub.room(...rooms), (peer) => inAny(peer, rooms))
    } else if (dice < 470) {
      const users = this.#some(this.#users, 2)
      this.#operation = `${number}: user(${users})`
      this.#broadcast(hub.user(...users), (peer) => users.includes(peer.user))
    } else if (dice < 500) {
      this.#operation = `${number}: all`
      this.#broadcast(hub.all(), () => true)
    } else if (dice < 550) {
      rooms = this.#some(this.#rooms, 2)
      const out = this.#some(this.#peers, 2)
      const user = this.#pick(this.#users)
      const both = this.#random() < 0.5
      const [first, ...more] = out as [Peer, ...Peer[]]
      let audience = hub
        .room(...rooms)
        .except(first.connection, ...more.map((peer) => peer.connection.id))
      if (both) audience = audience.exceptUser(user)
      this.#operation = `${number}: room(${rooms}).except(${out.map((peer) => peer.name)})`
      this.#broadcast(
        audience,
        (peer) => inAny(peer, rooms) && !out.includes(peer) && !(both && peer.user === user),
      )
    } else if (dice < 600) {
      const from = this.#pick(this.#peers)
      rooms = this.#some(this.#rooms, 2)
      this.#operation = `${number}: ${from.name}.to(${rooms})`
      this.#broadcast(from.connection.to(...rooms), (peer) => peer !== from && inAny(peer, rooms))
    } else if (dice < 820) {
      this.#operation = `${number}: send`
      this.#direct(this.#pick(this.#peers))
    } else if (dice < 900) {
      const peer = this.#pick(this.#peers)
      rooms = this.#some(this.#rooms, 3)
      void peer.connection.join(...rooms)
      for (const room of rooms) peer.rooms.add(room)
    } else if (dice < 960) {
      const peer = this.#pick(this.#peers)
      rooms = this.#some(this.#rooms, 3)
      peer.connection.leave(...rooms)
      for (const room of rooms) peer.rooms.delete(room)
    } else if (dice < 970) {
      const user = this.#pick(this.#users)
      const room = this.#pick(this.#rooms)
      void hub.user(user).join(room)
      for (const peer of this.#peers) if (peer.user === user) peer.rooms.add(room)
    } else if (dice < 980) {
      const from = this.#pick(this.#rooms)
      const room = this.#pick(this.#rooms)
      void hub.room(from).leave(room)
      for (const peer of this.#peers) if (peer.rooms.has(from)) peer.rooms.delete(room)
    } else if (dice < 993) {
      this.#pick(this.#peers).connection.ping()
    } else {
      this.#operation = `${number}: close`
      await this.#close(this.#pick(this.#peers))
    }
    const pause = this.#random()
    if (pause < 0.55) return
    if (pause < 0.65) await new Promise<void>((resolve) => process.nextTick(resolve))
    else if (pause < 0.75) await Promise.resolve()
    else await turn()
  }

  #broadcast(audience: Audience, isMember: (peer: Peer) => boolean): void {
    const message = this.#message()
    let delivery: Delivery
    if (typeof message === 'string') delivery = audience.send(message)
    else {
      const bytes = Buffer.from(message)
      delivery = audience.send(bytes)
      bytes.fill(0) // must not change what was sent
    }
    let members = 0
    for (const peer of this.#peers) {
      if (!peer.open || !isMember(peer)) continue
      members++
      if (peer.parts) peer.held.push(message)
      else this.#expect(peer, message)
    }
    if (delivery.local !== members || delivery.dropped !== 0) {
      const { local, dropped } = delivery
      this.#wrong(`${this.#operation}: local ${local}, dropped ${dropped}, not ${members} and 0`)
    }
  }

  #direct(peer: Peer): void {
    if (!peer.open) return
    const dice = this.#random()
    if (peer.parts) this.#part(peer, dice < 0.5)
    else if (dice < 0.15) this.#part(peer, false)
    else if (dice < 0.25) {
      const value = { sent: this.#sent++, of: peer.name }
      this.#expect(peer, JSON.stringify(value))
      peer.connection.json(value)
    } else {
      const message = this.#message()
      if (peer.kind === 'blob' && dice < 0.35) {
        this.#expect(peer, Buffer.from(message))
        peer.connection.send(new Blob([message as string]) as never)
      } else {
        this.#expect(peer, message)
        peer.connection.send(message)
      }
    }
  }

  /** Sends a part of a message. */
  #part(peer: Peer, last: boolean): void {
    peer.parts ??= []
    const [first] = peer.parts
    const text = `part ${this.#sent++} ${this.#filling()}`
    const part = typeof (first ?? this.#message()) === 'string' ? text : Buffer.from(text)
    peer.parts.push(part)
    if (last) {
      this.#expect(
        peer,
        typeof part === 'string' ? peer.parts.join('') : Buffer.concat(peer.parts as Buffer[]),
      )
      for (const message of peer.held) this.#expect(peer, message)
      peer.held = []
      peer.parts = null
    }
    peer.connection.send(part, { fin: last })
  }

  /** Closes a connection, and opens another; earlier messages must arrive. */
  async #close(peer: Peer): Promise<void> {
    if (!peer.open) return
    // Messages of this turn precede the close frame.
    const last = this.#random()
    if (last < 0.6) {
      this.#broadcast(this.#site.hub.user(peer.user), (one) => one.user === peer.user)
    }
    if (last > 0.4) this.#direct(peer)
    if (this.#random() < 0.5) peer.connection.close(1000, 'over')
    else void this.#site.hub.connection(peer.connection.id).close(1000, 'over')
    peer.open = false
    peer.parts = null
    peer.held = []
    // Until the connection is gone, some sends meet it while it is closing.
    await this.#enter()
    this.#peers = this.#peers.filter((one) => one.open || !one.ended)
  }

  async #enter(): Promise<void> {
    const number = this.#opened++
    const kind = KIND_NAMES[number % KIND_NAMES.length] as string
    const user = this.#pick(this.#users)
    const arrived = deferred<Connection>()
    this.#arrivals.set(String(number), arrived.resolve)
    const query = new URLSearchParams({ n: String(number), user })
    const socket = new WebSocket(`ws://127.0.0.1:${this.#site.port}/?${query}`, {
      perMessageDeflate: KINDS[kind] as boolean,
    })
    await once(socket, 'open')
    const peer = new Peer(`${number} (${kind})`, user, kind, socket, await arrived.promise)
    this.#arrivals.delete(String(number))
    socket.on('message', (data, isBinary) =>
      this.#arrive(peer, isBinary ? (data as Buffer) : data.toString()),
    )
    socket.on('error', (error) => this.#break(peer, `the client failed: ${error.message}`))
    socket.on('close', (code) => {
      peer.ended = true
      if (code === 1006 && this.#operation === 'the end') return
      if (peer.open) this.#break(peer, `closed with ${code}`)
      else if (code !== 1000) this.#break(peer, `closed with ${code}, not 1000`)
      else if (peer.checked < peer.expected.length) {
        this.#break(peer, `closed, and ${peer.expected.length - peer.checked} did not come`)
      }
    })
    this.#peers.push(peer)
  }

  #expect(peer: Peer, message: Message): void {
    if (peer.broken) return
    peer.expected.push(message)
    this.#underway++
  }

  #arrive(peer: Peer, message: Message): void {
    if (peer.broken) return
    peer.seen++
    const expected = peer.expected[peer.checked]
    const same =
      typeof message === 'string' || typeof expected !== 'object'
        ? message === expected
        : message.equals(expected)
    if (!same) {
      this.#break(peer, `message ${peer.seen} is ${short(message)}, not ${short(expected)}`)
      return
    }
    this.deliveries++
    this.#underway--
    peer.checked++
    if (peer.checked < 500) return
    peer.expected.splice(0, peer.checked)
    peer.checked = 0
  }

  #break(peer: Peer, what: string): void {
    if (peer.broken) return
    peer.broken = true
    this.#underway -= peer.expected.length - peer.checked
    this.#wrong(`${peer.name}, around ${this.#operation}: ${what}`)
  }

  #wrong(what: string): void {
    this.mismatches.push(what)
  }

  /** Waits until at most this many messages are in transit. */
  async #settle(most: number): Promise<void> {
    let { deliveries } = this
    let deadline = Date.now() + PATIENCE
    while (this.#underway > most) {
      await turn()
      if (this.deliveries !== deliveries) {
        deliveries = this.deliveries
        deadline = Date.now() + PATIENCE
      } else if (Date.now() > deadline) {
        for (const peer of this.#peers) {
          const missing = peer.expected.length - peer.checked
          if (missing > 0) this.#break(peer, `${missing} messages did not come`)
        }
        if (this.#underway > most) throw new Error(`the run lost count: ${this.#underway}`)
      }
    }
  }

  /** Makes a unique message: mostly small, sometimes large. */
  #message(): Message {
    const text = `${this.#sent++} ${this.#filling()}`
    return this.#random() < 0.7 ? text : Buffer.from(text)
  }

  #filling(): string {
    const dice = this.#random()
    const most = dice < 0.7 ? 40 : dice < 0.9 ? 300 : dice < 0.98 ? 3_000 : dice < 0.998 ? 2e4 : 1e5
    const length = Math.floor(this.#random() * most)
    const from = Math.floor(this.#random() * LETTERS.length)
    return (LETTERS.slice(from) + LETTERS)
      .repeat(Math.ceil(length / LETTERS.length))
      .slice(0, length)
  }

  #pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.#random() * all.length)] as T
  }

  #some<T>(all: readonly T[], most: number): T[] {
    const many = 1 + Math.floor(this.#random() * most)
    return [...new Set(Array.from({ length: many }, () => this.#pick(all)))]
  }
}

/**
 * Runs random operations on a hub with a seed, and checks that every client gets the messages in
 * order.
 */
export async function randomOrder(options: OrderOptions): Promise<OrderReport> {
  const arrivals = new Map<string, (connection: Connection) => void>()
  const site = await serve(
    (app) =>
      app.use(
        accept((connection) => arrivals.get(String(connection.query['n']))?.(connection), {
          user: (ctx) => String(ctx.query['user']),
        }),
      ),
    {
      perMessageDeflate: { serverNoContextTakeover: !options.takeover },
      maxBufferedAmount: 64 * 1024 * 1024,
      closeTimeout: 20_000, // for a busy machine: only the order matters
      flood: false,
    },
  )
  const run = new OrderRun(options, site, arrivals)
  await run.run()
  const mismatches = [...run.mismatches]
  for (const { error } of site.errors) mismatches.push(`app error: ${error.message}`)
  const { deliveries, opened } = run
  return { ...options, deliveries, connections: opened, mismatches }
}

function inAny(peer: Peer, rooms: readonly string[]): boolean {
  return rooms.some((room) => peer.rooms.has(room))
}

function short(message: Message | undefined): string {
  if (message === undefined) return 'nothing'
  const text = typeof message === 'string' ? message : `binary ${message}`
  return `${JSON.stringify(text.slice(0, 40))} (${message.length})`
}
