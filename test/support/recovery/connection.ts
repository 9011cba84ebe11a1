import type { Client } from './client.ts'
import type { Instance } from './instance.ts'
import type { Schedule } from './schedule.ts'
import type { At, ToClient } from './types.ts'

/** How many ids of earlier connections a client presents. */
const PREVIOUS = 8

/** One connection of a client to an instance. */
export class Connection {
  readonly client: Client
  readonly instance: Instance
  readonly id: number
  /** The ids of its client, this one included: messages that exclude them are not for it. */
  readonly previous: readonly number[]
  /** The positions that the client has presented, each until it is used. */
  readonly presented: Map<string, At>
  readonly rooms = new Set<string>()
  /** Whether the instance sends on it. */
  isOpen = true
  /** Whether sent messages still arrive. */
  arrives = true
  readonly #schedule: Schedule
  #last = 0

  constructor(schedule: Schedule, client: Client, instance: Instance, id: number) {
    this.#schedule = schedule
    this.client = client
    this.instance = instance
    this.id = id
    this.previous = [...client.ids.slice(-PREVIOUS), id]
    this.presented = new Map(client.positions)
    client.ids.push(id)
    client.connection = this
    instance.connections.add(this)
  }

  /** Sends a message; messages arrive in order. */
  tell(message: ToClient): void {
    if (!this.isOpen) return
    const { now } = this.#schedule
    this.#last = Math.max(this.#last + 0.001, now + this.#schedule.delay())
    this.#schedule.after(this.#last - now, () => {
      if (this.arrives) this.client.take(this, message)
    })
  }
}
