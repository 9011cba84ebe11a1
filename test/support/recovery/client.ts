import type { Connection } from './connection.ts'
import { type At, type Flaw, isUnborn, type ToClient } from './types.ts'

/** How many ids of messages to several rooms a client remembers. */
const REMEMBERED = 1_024
const SHORT = 2

/** What a client received, with what it did. */
export type Logged = ToClient & { readonly delivered: boolean }

/** A client. It keeps its positions and the ids of delivered messages over reconnects. */
export class Client {
  readonly index: number
  /** The rooms that the application lets it join. */
  readonly wanted: Set<string>
  readonly ids: number[] = []
  readonly positions = new Map<string, At>()
  readonly log: Logged[] = []
  /** What no server should send. */
  readonly wrong: string[] = []
  connection: Connection | null = null
  readonly #flaw: Flaw | null
  readonly #once = new Set<number>()

  constructor(index: number, wanted: Set<string>, flaw: Flaw | null) {
    this.index = index
    this.wanted = wanted
    this.#flaw = flaw
  }

  /** Takes a message that arrived on a connection. */
  take(connection: Connection, message: ToClient): void {
    if (this.connection !== connection && this.#flaw !== 'old socket') return
    const { room } = message
    switch (message.type) {
      case 'left':
        this.positions.delete(room)
        break
      case 'position':
      case 'refused':
        this.positions.set(room, message.at)
        if (this.#flaw === 'once forgotten') this.#once.clear()
        break
      case 'recovered':
        break
      default:
        this.#move(message)
        return
    }
    this.log.push({ ...message, delivered: false })
  }

  #move(message: ToClient & { type: 'push' | 'at' }): void {
    const before = this.positions.get(message.room)
    if (!before) this.wrong.push('a message before its position')
    else if (before.epoch !== message.at.epoch && !(isUnborn(before) && message.at.offset === 1))
      this.wrong.push('a message of another epoch')
    else if (message.at.offset <= before.offset) this.wrong.push('a message behind the position')
    this.positions.set(message.room, message.at)
    this.log.push({ ...message, delivered: message.type === 'push' && this.#isNew(message.said) })
  }

  #isNew({ id, rooms }: { id: number; rooms: readonly string[] }): boolean {
    if (rooms.length === 1 || this.#flaw === 'no once') return true
    if (this.#once.has(id)) return false
    this.#once.add(id)
    if (this.#once.size > (this.#flaw === 'short memory' ? SHORT : REMEMBERED)) {
      const [oldest] = this.#once
      this.#once.delete(oldest as number)
    }
    return true
  }
}
