// Pings connections in small groups over the interval, and finds clients that no longer respond.

import type { ServerHttp2Stream } from 'node:http2'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { ConnectionRules } from '../connection/rules.ts'
import { takenOf } from '../connection/taken.ts'

type Rhythm = Exclude<ConnectionRules['heartbeat'], false>

/** Number of slots per interval, unless they would be shorter than 5 ms. */
const SLOTS = 500
const SHORTEST_SLOT = 5
/** The most WebSockets of one HTTP/2 session in a slot: their pings share a write, and their pongs a read. */
const TOGETHER = 100
/**
 * The most that one tick advances the clock, in milliseconds. After a longer block of the loop, the
 * clock lags behind.
 */
const MOST_AT_ONCE = 100

/** Connections with less sent data, in bytes, get no allowance: 16 KB take 2 s at 64 kbit/s. */
const LITTLE = 16 * 1024
/** The slowest link on which a connection survives, in bytes per millisecond: 64 kbit/s. */
const SLOWEST = 8
/** The longest extra wait for a pong behind data that the kernel has taken, in milliseconds. */
const MOST_PATIENCE = 120_000

/**
 * How much of the data sent to a client has arrived. Positions count the bytes that the kernel has
 * taken.
 */
interface Sent {
  /** At the last ping; `before` is the same at the ping before it. */
  pinged: number
  before: number
  /** The position up to which all data has arrived. */
  arrived: number
  /** When the earliest unanswered ping was sent, on the clock of the wheel. */
  since: number
}

const NONE: never[] = []

/** Pings the connections of one hub, and reports connections with unresponsive clients. */
export class Heartbeat {
  readonly #wheels = new Map<string, Wheel>()
  readonly #silent: (connection: Connection) => void

  /** @param silent called for a connection when its client did not answer in time */
  constructor(silent: (connection: Connection) => void) {
    this.#silent = silent
  }

  add(connection: Connection, rhythm: Rhythm): void {
    const key = `${rhythm.interval}/${rhythm.timeout}`
    let wheel = this.#wheels.get(key)
    if (!wheel) {
      wheel = new Wheel(rhythm, this.#silent, () => this.#wheels.delete(key))
      this.#wheels.set(key, wheel)
    }
    wheel.add(connection)
  }

  remove(connection: Connection): void {
    const core = coreOf(connection)
    const slot = core.slot as WheelSlot | null
    if (!slot) return
    slot.wheel.remove(connection, slot)
    core.putInSlot(null, 0)
  }
}

interface WheelSlot {
  readonly wheel: Wheel
  /** Each knows its place here, so that none has to be searched. */
  readonly members: Connection[]
  /** Members that were pinged and await the verdict. */
  pinged: Connection[]
  /**
   * Their life signs counted at the ping. Negative: the connection was behind, so a missing pong proves nothing.
   */
  marks: number[]
  /** When the slot was pinged, on the clock of the wheel; null after its verdict. */
  pingedAt: number | null
  /** The next ping is due, and waits for the verdict on the last one. */
  due: boolean
}

/**
 * All connections with the same interval and timeout, spread over the slots of a wheel that turns
 * once per interval. The wheel pings one slot after another, and judges each slot when `timeout`
 * has passed.
 *
 * The wheel's clock stands still while the event loop is blocked. A connection that seems silent is
 * checked again on the next tick, after pending data has been read: a process that hangs must not
 * blame its clients.
 */
class Wheel {
  readonly #slots: WheelSlot[]
  readonly #slotTime: number
  readonly #timeout: number
  readonly #silent: (connection: Connection) => void
  readonly #emptied: () => void
  readonly #sent = new Map<Connection, Sent>()
  #suspects: [connection: Connection, mark: number][] = []
  /** Pinged slots that await their verdict, earliest first. */
  readonly #waiting: WheelSlot[] = []
  /** Milliseconds in which the event loop was not blocked. */
  #clock = 0
  #position = 0
  /** The slot of the next connection. Going round spreads connections that arrive together. */
  #next = 0
  /** The slots that HTTP/2 sessions use at present. */
  readonly #shared = new WeakMap<object, { readonly slot: WheelSlot; left: number }>()
  #size = 0
  #last = performance.now()
  readonly #timer: NodeJS.Timeout

  constructor(
    { interval, timeout }: Rhythm,
    silent: (connection: Connection) => void,
    emptied: () => void,
  ) {
    this.#slotTime = Math.max(SHORTEST_SLOT, interval / SLOTS)
    const count = Math.max(1, Math.round(interval / this.#slotTime))
    this.#slots = Array.from({ length: count }, () => ({
      wheel: this,
      members: [],
      pinged: NONE,
      marks: NONE,
      pingedAt: null,
      due: false,
    }))
    this.#timeout = timeout
    this.#silent = silent
    this.#emptied = emptied
    this.#timer = setInterval(tickWheel, this.#slotTime, this)
    this.#timer.unref()
  }

  add(connection: Connection): void {
    const slot = this.#slotFor(connection)
    coreOf(connection).putInSlot(slot, slot.members.push(connection) - 1)
    this.#size++
  }

  remove(connection: Connection, slot: WheelSlot): void {
    const { place } = coreOf(connection)
    const last = slot.members.pop() as Connection
    if (last !== connection) {
      slot.members[place] = last
      coreOf(last).putInSlot(slot, place)
    }
    this.#sent.delete(connection)
    this.#size--
    if (this.#size > 0) return
    clearInterval(this.#timer)
    this.#emptied()
  }

  tick(): void {
    const suspects = this.#suspects
    this.#suspects = []
    for (const [connection, mark] of suspects) {
      if (coreOf(connection).slot && this.#isSilent(connection, mark)) this.#silent(connection)
    }
    const now = performance.now()
    this.#clock += Math.min(now - this.#last, Math.max(MOST_AT_ONCE, 2 * this.#slotTime))
    this.#last = now
    for (;;) {
      const first = this.#waiting[0]
      if (!first || this.#clock - (first.pingedAt as number) < this.#timeout) break
      this.#waiting.shift()
      this.#judge(first)
    }
    const reached = Math.floor(this.#clock / this.#slotTime)
    while (this.#position < reached) {
      this.#position++
      this.#ping(this.#slotAt(this.#position))
    }
  }

  /** Chooses the slot of a new connection: the next one, or that of its HTTP/2 session. */
  #slotFor(connection: Connection): WheelSlot {
    const { outbox } = coreOf(connection)
    const session = (outbox?.socket as Partial<ServerHttp2Stream> | undefined)?.session
    if (!session) return this.#slotAt(this.#next++)
    let shared = this.#shared.get(session)
    if (!shared || shared.left === 0) {
      shared = { slot: this.#slotAt(this.#next++), left: TOGETHER }
      this.#shared.set(session, shared)
    }
    shared.left--
    return shared.slot
  }

  #slotAt(position: number): WheelSlot {
    const count = this.#slots.length
    return this.#slots[position % count] as WheelSlot
  }

  #judge(slot: WheelSlot): void {
    for (const [i, connection] of slot.pinged.entries()) {
      const mark = slot.marks[i] as number
      if (this.#isSilent(connection, mark)) this.#suspects.push([connection, mark])
    }
    slot.pinged = NONE
    slot.marks = NONE
    slot.pingedAt = null
    if (slot.due) this.#ping(slot)
  }

  #ping(slot: WheelSlot): void {
    slot.due = slot.pingedAt !== null
    if (slot.due || slot.members.length === 0) return
    slot.pinged = []
    slot.marks = []
    // From the end: a connection that ends meanwhile gives its place to the last, which was pinged.
    for (let i = slot.members.length - 1; i >= 0; i--) {
      const connection = slot.members[i] as Connection
      const core = coreOf(connection)
      const { outbox, lifeSigns } = core
      if (!outbox || connection.readyState !== connection.OPEN) continue
      // A ping behind data that the client has not taken would wait too, and prove nothing.
      const behind = outbox.idleTime !== null
      slot.pinged.push(connection)
      slot.marks.push(behind || outbox.wasBehind ? -1 - lifeSigns : lifeSigns)
      if (behind) continue
      this.#note(connection, takenOf(outbox.socket) ?? 0)
      core.ping()
    }
    slot.pingedAt = this.#clock
    this.#waiting.push(slot)
  }

  #isSilent(connection: Connection, mark: number): boolean {
    const { outbox, lifeSigns } = coreOf(connection)
    const blocked = mark < 0
    if (!outbox || connection.readyState !== connection.OPEN) return false
    if (lifeSigns !== (blocked ? -1 - mark : mark)) return false
    // A paused connection is not read, so a pong could not be noticed.
    if (connection.isPaused || outbox.socket.isPaused()) return false
    const idle = outbox.idleTime
    if (idle !== null) return idle >= this.#timeout
    return !blocked && !this.#mayWaitInLine(connection)
  }

  /** Records how much has been sent, just before a ping. */
  #note(connection: Connection, taken: number): void {
    if (taken < LITTLE) return
    const sent = this.#sent.get(connection) ?? { pinged: 0, before: 0, arrived: 0, since: 0 }
    if (!coreOf(connection).awaitsPong) {
      // The pong may answer the ping before the last one.
      sent.arrived = sent.before
      sent.since = this.#clock
    }
    sent.before = sent.pinged
    sent.pinged = taken
    this.#sent.set(connection, sent)
  }

  /**
   * Returns whether the ping may still wait behind other data in the buffers of kernels and
   * proxies. These hold megabytes, and Node cannot see how full they are.
   */
  #mayWaitInLine(connection: Connection): boolean {
    const sent = this.#sent.get(connection)
    if (!sent) return false
    const line = Math.min((sent.pinged - sent.arrived) / SLOWEST, MOST_PATIENCE)
    return this.#clock - sent.since < this.#timeout + line
  }
}

function tickWheel(wheel: Wheel): void {
  wheel.tick()
}
