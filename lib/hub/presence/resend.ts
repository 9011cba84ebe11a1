// Publishes the people in all rooms again, in portions that fit the queue of the backplane.

import type { Publication } from '../../backplane/turn-groups.ts'
import type { PresentRoom } from './present-room.ts'

/** The shortest time between two full resends that were asked for, in milliseconds. */
const INTERVAL = 2_000
/** The number of messages in a portion. */
const PORTION = 100

/** What a resend needs of presence. */
export interface ResendHost {
  readonly id: string
  /** The rooms with members on this instance. */
  rooms(): readonly PresentRoom[]
  /** Tells the other instances which users are here. */
  tellUsers(): void
  /** Publishes how many connections a person has here. Returns null without a backplane. */
  publish(room: PresentRoom, who: string): Publication | null
  /** Asks the other instances for the people in a room, unless it has ended. */
  ask(room: PresentRoom): void
}

/** The resends of one instance. Two at a time would meet in the queue, so that each waits for the one before. */
export class Resend {
  readonly #host: ResendHost
  #timer: NodeJS.Timeout | null = null
  /** The resend that begins when the present one has ended. */
  #wanted: { readonly asking: boolean } | null = null
  #isSending = false
  #isClosed = false

  constructor(host: ResendHost) {
    this.#host = host
  }

  /** Another instance asks for it. */
  soon(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.now(false)
    }, INTERVAL)
    this.#timer.unref()
  }

  /** @param asking whether this instance may have missed changes too, and asks the others */
  now(asking: boolean): void {
    if (this.#isClosed) return
    this.#host.tellUsers()
    this.#wanted = { asking: asking || this.#wanted?.asking === true }
    if (!this.#isSending) void this.#sendWanted()
  }

  close(): void {
    this.#isClosed = true
    if (this.#timer) clearTimeout(this.#timer)
  }

  async #sendWanted(): Promise<void> {
    this.#isSending = true
    for (let wanted = this.#wanted; wanted && !this.#isClosed; wanted = this.#wanted) {
      this.#wanted = null
      await this.#send(wanted.asking)
    }
    this.#isSending = false
  }

  /** Sends each portion when the engine has taken the one before. */
  async #send(asking: boolean): Promise<void> {
    const { id } = this.#host
    let portion: (Publication | null)[] = []
    for (const room of this.#host.rooms()) {
      for (const { who } of [...room.sightingsOf(id)]) {
        portion.push(this.#host.publish(room, who))
        if (portion.length < PORTION) continue
        const results = await Promise.all(portion.map((each) => each?.result))
        portion = []
        // The engine is away. When it is back, everything is sent again.
        if (this.#isClosed || results.includes('queued')) return
      }
      if (asking) this.#host.ask(room)
    }
  }
}
