import type { Client } from './client.ts'
import { nameOf, type Store } from './store.ts'
import { type At, isUnborn, type ToClient } from './types.ts'

/**
 * Judges what a client received. In one stay in a room, from a position that it was told to the next
 * one, it gets every message of the room from this position on, once and in order.
 *
 * A new position begins a new stay. When the client left and joined again, the new instance may be
 * behind the earlier one. Messages after the new position then come again, as the client was told.
 */
export class Judge {
  readonly wrong: string[] = []
  delivered = 0
  /** Messages that came again in a later stay. */
  again = 0
  readonly #client: Client
  readonly #store: Store
  readonly #places = new Map<string, At>()
  /** The delivered messages. It leaves out messages that may come again. */
  readonly #given = new Map<number, { readonly room: string; readonly at: At }>()
  readonly #everGiven = new Set<number>()

  constructor(client: Client, store: Store) {
    this.#client = client
    this.#store = store
  }

  /** Judges everything, when all is quiet. */
  judge(): void {
    this.wrong.push(...this.#client.wrong)
    for (const message of this.#client.log) {
      switch (message.type) {
        case 'position':
        case 'refused':
          this.#begin(message.room, message.at)
          break
        case 'left':
          this.#places.delete(message.room)
          break
        case 'recovered':
          if (!this.#places.has(message.room)) this.wrong.push('recovered from nowhere')
          break
        default:
          this.#move(message, message.delivered)
      }
    }
    this.#judgeEnd()
  }

  #begin(room: string, at: At): void {
    this.#places.set(room, at)
    for (const [id, given] of this.#given) {
      if (given.room === room && isAfter(given.at, at)) this.#given.delete(id)
    }
  }

  #move(message: ToClient & { type: 'push' | 'at' }, isDelivered: boolean): void {
    const { room, at } = message
    const place = this.#places.get(room)
    this.#places.set(room, at)
    const entry = this.#store.all.get(nameOf(room, at))
    if (place && isUnborn(place) && place.epoch < at.epoch && at.offset === 1) {
      const isFirst = this.#store.isFirst(room, at.epoch, place.epoch)
      if (!isFirst) this.wrong.push('an epoch that the client was not told')
    } else if (!place || place.epoch !== at.epoch) this.wrong.push('a message outside of a stay')
    else if (at.offset !== place.offset + 1) this.wrong.push('a hole, or a message out of order')
    else if (!entry) this.wrong.push('a message that was never recorded')
    else if (entry.previous !== place.key) this.wrong.push('a fork that the client was not told')
    if (message.type === 'at' || !entry) return
    const { id, author } = entry.said
    if (author === this.#client.index) {
      if (this.#client.ids.includes(entry.said.except)) this.wrong.push('its own message')
    }
    if (isDelivered) this.#deliver(id, room, at)
    else if (!this.#everGiven.has(id)) this.wrong.push('a message that was not delivered')
  }

  #deliver(id: number, room: string, at: At): void {
    this.delivered++
    if (this.#given.has(id)) this.wrong.push('a message twice')
    else if (this.#everGiven.has(id)) this.again++
    this.#given.set(id, { room, at })
    this.#everGiven.add(id)
  }

  #isAtEnd(room: string, place: At): boolean {
    const top = this.#store.top(room)
    return (isUnborn(top) && isUnborn(place)) || nameOf(room, place) === nameOf(room, top)
  }

  /** When all is quiet, each member stands where the room ends. */
  #judgeEnd(): void {
    const { connection } = this.#client
    if (!connection?.isOpen) return
    for (const room of connection.rooms) {
      const place = this.#places.get(room)
      if (!place) this.wrong.push('a member without a position')
      else if (!this.#isAtEnd(room, place)) {
        this.wrong.push('a member that does not stand at the end of the room')
      }
    }
  }
}

/** Returns whether a message comes after a position. An instance that is behind may place a member before the room existed. */
function isAfter(message: At, position: At): boolean {
  if (isUnborn(position)) return message.epoch > position.epoch
  return message.epoch === position.epoch && message.offset > position.offset
}
