// Detects peers that hear each other in one direction only.
import type { HeardNote, HeardPeer } from './notes.ts'

/**
 * A beat that a peer has not heard after this many periods and `SLACK` is missing: the next beat
 * has been sent too.
 */
const OVERDUE = 1
/**
 * A peer counts as unheard when another instance heard it this many periods later than this one.
 */
const UNHEARD = 2.25
/** How many times as long a report is kept: until it is certain that the peer has left. */
const KEPT = 4
/** The tolerance for busy machines, in milliseconds. */
const SLACK = 250
/** The number of own beats to remember. */
const BEATS = 8
/** The most instances to remember that others report. */
const MOST = 10_000

/** The knowledge of this instance about its peers: `Peers`. */
interface KnownPeers {
  receivedAt(id: string): number | undefined
  areSilent(now: number): boolean
}

/** A fault in hearing between instances. */
export interface HearingFault {
  readonly why: string
  /** Whether two living instances do not hear each other; otherwise the others may have died. */
  readonly isSplit: boolean
  /** Whether it has lasted for longer than a delay of the engine or of a process would. */
  readonly isFirm: boolean
}

/** The latest report about a peer. */
export interface Elsewhere {
  /** The instance that heard it. */
  by: string
  /** The number of its last beat there. */
  number: number
  /** When it was heard, and when it was first reported. */
  at: number
  since: number
}

/**
 * Compares the peers' reports of what they hear with this instance's own beats and arrivals.
 * Acknowledgements and echoes do not show hearing that works in one direction only. Times are
 * monotonic, in milliseconds.
 */
export class Hearing {
  readonly #id: string
  /** The latest beats of this instance, oldest first. */
  readonly #beats: { readonly number: number; readonly at: number }[] = []
  /** Peers that this instance hears and that do not hear this instance, and since when. */
  readonly #deaf = new Map<string, number>()
  readonly #elsewhere = new Map<string, Elsewhere>()

  constructor(id: string) {
    this.#id = id
  }

  /** Returns a peer that this instance hears and that does not hear it, or null. */
  get deaf(): string | null {
    return this.#deaf.keys().next().value ?? null
  }

  /** Records a beat of this instance. */
  beat(number: number, now: number): void {
    this.#beats.push({ number, at: now })
    if (this.#beats.length > BEATS) this.#beats.shift()
  }

  /** Forgets earlier reports when the engine is back. */
  renew(): void {
    this.#beats.length = 0
    this.#elsewhere.clear()
  }

  left(peer: string): void {
    this.#deaf.delete(peer)
    const known = this.#elsewhere.get(peer)
    if (known) known.since = known.at
  }

  /** Returns what other instances heard of a peer, also for a while after it has left. */
  elsewhere(peer: string): Elsewhere | undefined {
    return this.#elsewhere.get(peer)
  }

  /** Records which peers another instance hears, and which of them have left it. */
  named(from: string, note: HeardNote, now: number): void {
    for (const peer of [...note.peers, ...note.left]) {
      if (peer.id !== this.#id) this.#named(peer, from, now)
    }
  }

  /**
   * Records the report of a peer about what it hears of this instance.
   *
   * @param known when this instance first heard the peer
   * @param period the interval of this instance's beats, in milliseconds
   */
  noted(from: string, note: HeardNote, known: number, period: number, now: number): void {
    const isCovered = this.#id > note.after && (note.until === '' || this.#id <= note.until)
    if (!isCovered) return
    const me = note.peers.find(({ id }) => id === this.#id)
    const number = me?.number ?? 0
    const missed = this.#beats.find((beat) => beat.number > number)
    const overdue = OVERDUE * period + SLACK
    const isOverdue = missed !== undefined && now - Math.max(missed.at, known) > overdue
    const isHeard = number >= (this.#beats[0]?.number ?? Infinity)
    if (isOverdue && (me === undefined || me.silent > overdue)) {
      if (!this.#deaf.has(from)) this.#deaf.set(from, now)
    }
    // After a reconnect, only a beat sent over the new connection proves that the peer hears again.
    else if (isHeard) this.#deaf.delete(from)
  }

  /** Returns the present fault, or null. */
  fault(peers: KnownPeers, period: number, now: number): HearingFault | null {
    const [deaf] = this.#deaf
    if (deaf) {
      const [id, since] = deaf
      return {
        why: `this instance receives the messages of ${id}, but ${id} does not receive those of this instance`,
        isSplit: true,
        isFirm: now - since > period, // within a period the peer reports again
      }
    }
    const unheard = this.#unheard(peers, period, now)
    if (unheard) {
      const why = `this instance does not receive the messages of ${unheard.id}, but ${unheard.by} does`
      return { why, isSplit: true, isFirm: true }
    }
    return peers.areSilent(now)
      ? { why: 'all other instances have gone silent', isSplit: false, isFirm: true }
      : null
  }

  /** Returns an instance that another instance hears and this one does not. */
  #unheard(peers: KnownPeers, period: number, now: number): { id: string; by: string } | null {
    const longest = UNHEARD * period + SLACK
    for (const [id, { by, at, since }] of this.#elsewhere) {
      if (now - at > KEPT * longest) this.#elsewhere.delete(id)
      else if (now - at <= longest && at - (peers.receivedAt(id) ?? since) > longest)
        return { id, by }
    }
    return null
  }

  #named({ id, number, silent }: HeardPeer, by: string, now: number): void {
    const at = now - silent
    const known = this.#elsewhere.get(id)
    if (!known) {
      if (this.#elsewhere.size < MOST) this.#elsewhere.set(id, { by, number, at, since: now })
      return
    }
    if (at >= known.at) Object.assign(known, { by, at })
    known.number = Math.max(known.number, number)
  }
}
