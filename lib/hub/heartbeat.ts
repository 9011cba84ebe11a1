import { type Connection, internals } from '../connection/connection.ts'
import type { ConnectionRules } from '../connection/rules.ts'

type Rhythm = Exclude<ConnectionRules['heartbeat'], false>

/** Into so many slots an interval is divided, unless they would be shorter than 5 ms. */
const SLOTS = 500
const SHORTEST_SLOT = 5
/** The most time that one tick can stand for, in milliseconds: a loop that was blocked for longer is late. */
const MOST_AT_ONCE = 100

/** What the life signs were at the ping, negative for one that is not judged by them; null between. */
type Slot = Map<Connection, number | null>

/** Pings the connections of one hub, a few at a time, and finds those whose client has gone. */
export class Heartbeat {
  readonly #wheels = new Map<string, Wheel>()
  readonly #silent: (connection: Connection) => void

  /** @param silent called for a connection whose client did not answer in time */
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
    const slot = internals.slotOf(connection) as WheelSlot | null
    if (!slot) return
    internals.setSlot(connection, null)
    slot.wheel.remove(connection, slot)
  }
}

interface WheelSlot {
  readonly wheel: Wheel
  readonly members: Slot
  /** When it was pinged, by the clock of the wheel; null when it was judged since. */
  pingedAt: number | null
  /** It is to be pinged again, and waits for its verdict first. */
  due: boolean
}

/**
 * All connections with one interval, spread over the slots of a wheel that turns once in that time. A
 * slot is pinged when the wheel comes to it, and looked at when `timeout` has passed.
 *
 * The wheel has a clock of its own, which stands still while the loop is blocked. And whoever seems
 * silent is looked at once more in the next tick, when what had arrived has been read: a process that
 * hangs blames nobody.
 */
class Wheel {
  readonly #slots: WheelSlot[]
  readonly #slotTime: number
  readonly #timeout: number
  readonly #silent: (connection: Connection) => void
  readonly #emptied: () => void
  #suspects: [connection: Connection, mark: number][] = []
  /** Slots that were pinged, the earliest first. */
  readonly #waiting: WheelSlot[] = []
  /** Milliseconds in which the loop was not blocked. */
  #clock = 0
  #position = 0
  /** Where the next connection goes: they come in bunches, and are spread all the same. */
  #next = 0
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
      members: new Map(),
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
    const slot = this.#slotAt(this.#next++)
    slot.members.set(connection, null)
    internals.setSlot(connection, slot)
    this.#size++
  }

  remove(connection: Connection, slot: WheelSlot): void {
    if (!slot.members.delete(connection)) return
    this.#size--
    if (this.#size > 0) return
    clearInterval(this.#timer)
    this.#emptied()
  }

  tick(): void {
    const suspects = this.#suspects
    this.#suspects = []
    for (const [connection, mark] of suspects) {
      if (internals.slotOf(connection) && this.#isSilent(connection, mark)) this.#silent(connection)
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

  #slotAt(position: number): WheelSlot {
    const count = this.#slots.length
    return this.#slots[position % count] as WheelSlot
  }

  #judge(slot: WheelSlot): void {
    for (const [connection, mark] of slot.members) {
      if (mark === null) continue
      if (this.#isSilent(connection, mark)) this.#suspects.push([connection, mark])
      slot.members.set(connection, null)
    }
    slot.pingedAt = null
    if (slot.due) this.#ping(slot)
  }

  #ping(slot: WheelSlot): void {
    slot.due = slot.pingedAt !== null
    if (slot.due || slot.members.size === 0) return
    for (const connection of slot.members.keys()) {
      const outbox = internals.outboxOf(connection)
      if (!outbox || connection.readyState !== connection.OPEN) continue
      // Behind data that the client has not taken a ping would wait, and say nothing.
      const behind = outbox.idleTime !== null
      const signs = internals.lifeSigns(connection)
      slot.members.set(connection, behind || outbox.wasBehind ? -1 - signs : signs)
      if (!behind) internals.ping(connection)
    }
    slot.pingedAt = this.#clock
    this.#waiting.push(slot)
  }

  #isSilent(connection: Connection, mark: number): boolean {
    const outbox = internals.outboxOf(connection)
    const blocked = mark < 0
    if (!outbox || connection.readyState !== connection.OPEN) return false
    if (internals.lifeSigns(connection) !== (blocked ? -1 - mark : mark)) return false
    // Nobody reads, so nothing can be heard.
    if (connection.isPaused || outbox.socket.isPaused()) return false
    const idle = outbox.idleTime
    return idle === null ? !blocked : idle >= this.#timeout
  }
}

function tickWheel(wheel: Wheel): void {
  wheel.tick()
}
