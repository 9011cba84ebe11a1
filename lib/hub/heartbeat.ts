import { type Connection, internals } from '../connection/connection.ts'
import type { ConnectionRules } from '../connection/rules.ts'

type Rhythm = Exclude<ConnectionRules['heartbeat'], false>

/** Into so many slots an interval is divided, unless they would be shorter than 5 ms. */
const SLOTS = 500
const SHORTEST_SLOT = 5
/** The most time that one tick makes up for, in milliseconds: after a longer pause the wheel is late. */
const MOST_AT_ONCE = 100

/** What the life signs were when it was pinged; negative for one that could not be pinged. */
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
}

/**
 * All connections with one interval, spread over the slots of a wheel that turns once in that time. A
 * slot is pinged when the wheel comes to it, and looked at when `timeout` has passed.
 *
 * The wheel counts slots and not time. When the loop was blocked it goes on where it was, and whoever
 * seems silent is looked at once more in the next tick, when what had arrived meanwhile has been read:
 * a process that hangs blames nobody.
 */
class Wheel {
  readonly #slots: WheelSlot[]
  readonly #slotTime: number
  readonly #timeout: number
  /** The timeout in slots. */
  readonly #patience: number
  readonly #silent: (connection: Connection) => void
  readonly #emptied: () => void
  #suspects: [connection: Connection, mark: number][] = []
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
    this.#slots = Array.from({ length: count }, () => ({ wheel: this, members: new Map() }))
    this.#timeout = timeout
    this.#patience = Math.min(count, Math.ceil(timeout / this.#slotTime))
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
    const most = Math.max(2, Math.ceil(MOST_AT_ONCE / this.#slotTime))
    const passed = Math.floor((now - this.#last) / this.#slotTime)
    this.#last = passed > most ? now : this.#last + passed * this.#slotTime
    for (let i = 0; i < Math.min(passed, most); i++) {
      this.#position++
      this.#judge(this.#slotAt(this.#position - this.#patience).members)
      this.#ping(this.#slotAt(this.#position).members)
    }
  }

  #slotAt(position: number): WheelSlot {
    const count = this.#slots.length
    return this.#slots[((position % count) + count) % count] as WheelSlot
  }

  #judge(members: Slot): void {
    for (const [connection, mark] of members) {
      if (mark === null) continue
      if (this.#isSilent(connection, mark)) this.#suspects.push([connection, mark])
      members.set(connection, null)
    }
  }

  #ping(members: Slot): void {
    for (const connection of members.keys()) {
      if (connection.readyState !== connection.OPEN) continue
      // Behind data that the client does not take a ping would wait, and say nothing.
      const blocked = internals.outboxOf(connection)?.idleTime !== null
      members.set(
        connection,
        blocked ? -1 - internals.lifeSigns(connection) : internals.lifeSigns(connection),
      )
      if (!blocked) internals.ping(connection)
    }
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
