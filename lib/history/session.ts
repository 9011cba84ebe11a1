// What a client presents when it returns: the positions of its rooms, and the ids of its last connections.

import { MAX_POSITIONS, MAX_PREVIOUS, MAX_RESUME, readResume } from '../protocol/history.ts'
import { placeOf } from './place.ts'
import type { Place } from './store.ts'

/** The longest time that joins wait for what the client presents, in milliseconds. */
const PATIENCE = 10_000
/** A place that no log has, for a position that cannot be read. */
const UNREADABLE: Place = { epoch: '0', offset: 1, key: '' }

/** A client that recovers: it offered `koaws.resume`. */
export class Session {
  /** As text: most are never used, and a place takes more memory and time. */
  #positions: Map<string, string> | null = null
  #previous: readonly string[] = []
  /** Runs from the first join: what the client presented may wait for \`onConnect\` to be read. */
  #timer: NodeJS.Timeout | null = null
  readonly #presented = new Set<() => void>()
  readonly #admit: () => boolean
  #isLimited: boolean | null = null

  /** @param admit counts a recovery of this user, and returns false when there are too many */
  constructor(admit: () => boolean) {
    this.#admit = admit
  }

  /**
   * Whether this user has recovered too often: what the client presents is refused. Counted with the first room, when
   * the user is known also where the client authenticates with a message.
   */
  get isLimited(): boolean {
    this.#isLimited ??= !this.#admit()
    return this.#isLimited
  }

  /** Whether the client has presented its positions, or has had its time. */
  get isPresented(): boolean {
    return this.#positions !== null
  }

  /** Calls `then` when the client has presented its positions. Returns a function that takes it back. */
  whenPresented(then: () => void): () => void {
    this.#presented.add(then)
    this.#timer ??= setTimeout(() => this.#settle(new Map()), PATIENCE).unref()
    return () => this.#presented.delete(then)
  }

  /** Whether one of some ids is that of a former connection of this client. It is the client's word. */
  wasOneOf(ids: ReadonlySet<string>): boolean {
    return this.#previous.some((id) => ids.has(id))
  }

  /** Returns the position of a room, once: a later join in the same connection begins anew. */
  take(room: string): Place | null {
    const position = this.#positions?.get(room)
    this.#positions?.delete(room)
    return position === undefined ? null : (placeOf(position) ?? UNREADABLE)
  }

  /**
   * Reads the data of `koaws:resume`.
   *
   * @param bytes the size of the message
   * @returns what is wrong with it, or null
   */
  present(data: unknown, bytes: number): string | null {
    if (this.#positions) return 'koaws:resume is sent once, within 10 seconds'
    const resume = bytes <= MAX_RESUME ? readResume(data) : null
    if (!resume) {
      this.#settle(new Map())
      return `koaws:resume has at most ${MAX_POSITIONS} positions, ${MAX_PREVIOUS} ids and ${MAX_RESUME} bytes`
    }
    this.#previous = resume.previous
    this.#settle(new Map(resume.positions))
    return null
  }

  /** The connection has ended. */
  end(): void {
    this.#presented.clear()
    this.#settle(new Map())
  }

  #settle(positions: Map<string, string>): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#positions) return
    this.#positions = positions
    for (const then of this.#presented) then()
    this.#presented.clear()
  }
}
