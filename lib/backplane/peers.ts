// The other instances, and whether each is alive.
import type { HeardPeer } from './notes.ts'

/** The lease: an instance that is silent for this many of its periods is gone. */
const LEASE = 3
/**
 * The number of periods after which a peer counts as silent, and the tolerance for busy machines,
 * in milliseconds.
 */
const SILENT = 2.25
const SLACK = 250
/** The number of periods, and `SLACK`, after which a peer has missed a beat. */
const LATE = 1
/** Up to this many instances beat at the configured period; with more, each beats less often. */
const EVEN = 50
/** The most peers in one note about heard peers. */
const NAMED = 50

interface Peer {
  /**
   * The number of its last beat, and when that arrived. All earlier publishes have arrived by then.
   */
  number: number
  beatAt: number
  /** The same, or when this instance could hear again. */
  heardAt: number
  /** When anything was last received from it. */
  receivedAt: number
  /** When it was first heard. */
  readonly knownAt: number
  period: number
}

/** What becomes known of the peers. */
export interface PeerEvents {
  joined(id: string): void
  /** @param since all publishes before this time have arrived */
  left(id: string, since: number): void
  /** Reports that a beat sent after `since` did not arrive, though the peer is alive. */
  missed(id: string, since: number): void
}

/** Tracks the other instances by their beats. Times are monotonic, in milliseconds. */
export class Peers {
  readonly #peers = new Map<string, Peer>()
  readonly #events: PeerEvents
  /** The last id that a note named. */
  #namedUntil = ''

  constructor(events: PeerEvents) {
    this.#events = events
  }

  get ids(): string[] {
    return [...this.#peers.keys()]
  }

  get size(): number {
    return this.#peers.size
  }

  /** Returns when anything was last received from a peer; undefined for an unknown instance. */
  receivedAt(id: string): number | undefined {
    return this.#peers.get(id)?.receivedAt
  }

  /** Returns when a peer was first heard; Infinity for an unknown instance. */
  knownAt(id: string): number {
    return this.#peers.get(id)?.knownAt ?? Infinity
  }

  /**
   * Returns when the last beat of a peer arrived, even before an outage; Infinity for an unknown
   * instance.
   */
  beatAt(id: string): number {
    return this.#peers.get(id)?.beatAt ?? Infinity
  }

  /**
   * Returns whether there are peers, and all of them are silent for longer than a beat may be late.
   */
  areSilent(now: number): boolean {
    for (const { receivedAt, period } of this.#peers.values()) {
      if (now - receivedAt <= SILENT * period + SLACK) return false
    }
    return this.#peers.size > 0
  }

  /** Returns the peers from which a beat is overdue. */
  late(now: number): string[] {
    const isLate = ({ receivedAt, period }: Peer) => now - receivedAt > LATE * period + SLACK
    return this.ids.filter((id) => isLate(this.#peers.get(id) as Peer))
  }

  /**
   * Returns the interval between beats, in milliseconds. With many peers it grows, so that the
   * total load stays bounded.
   */
  period(wanted: number): number {
    return Math.round(wanted * Math.max(1, (this.#peers.size + 1) / EVEN))
  }

  /** Records that anything was received from an instance. */
  received(id: string, now: number): void {
    const peer = this.#peers.get(id)
    if (peer) peer.receivedAt = now
  }

  heard(id: string, number: number, period: number, now: number): void {
    const peer = this.#peers.get(id)
    if (period === 0) this.gone(id)
    else if (!peer) {
      const at = { beatAt: now, heardAt: now, receivedAt: now, knownAt: now }
      this.#peers.set(id, { number, period, ...at })
      this.#events.joined(id)
    } else if (number > peer.number) {
      const since = peer.beatAt
      const missed = number > peer.number + 1
      Object.assign(peer, { number, period, beatAt: now, heardAt: now })
      if (missed) this.#events.missed(id, since)
    }
  }

  gone(id: string): void {
    const peer = this.#peers.get(id)
    if (!peer) return
    this.#peers.delete(id)
    this.#events.left(id, peer.beatAt)
  }

  /** Removes peers that have been silent for too long. */
  expire(now: number): void {
    for (const [id, { heardAt, period }] of this.#peers) {
      if (now - heardAt > LEASE * period) this.gone(id)
    }
  }

  /** Renews all leases after an outage, during which this instance heard no peer. */
  renew(now: number): void {
    for (const [id, peer] of this.#peers) {
      this.#peers.set(id, { ...peer, heardAt: now, receivedAt: now, knownAt: now })
    }
  }

  /** Returns the heard peers for a note, or the next part of them in the order of their ids. */
  named(now: number): { after: string; until: string; peers: HeardPeer[] } {
    const ids = this.ids.sort()
    const after = ids.length > NAMED ? this.#namedUntil : ''
    const rest = ids.filter((id) => id > after)
    const part = rest.slice(0, NAMED)
    const until = rest.length > NAMED ? (part.at(-1) ?? '') : ''
    this.#namedUntil = until
    return { after, until, peers: part.map((id) => this.#name(id, now)) }
  }

  /** Returns the same for a note to one peer: whether this instance hears it. */
  namedTo(peer: string, now: number): { after: string; until: string; peers: HeardPeer[] } {
    const ids = this.ids.filter((id) => id <= peer).sort()
    const isHeard = ids.at(-1) === peer
    const after = ids.at(isHeard ? -2 : -1) ?? ''
    return { after, until: peer, peers: isHeard ? [this.#name(peer, now)] : [] }
  }

  #name(id: string, now: number): HeardPeer {
    const { number, receivedAt } = this.#peers.get(id) as Peer
    return { id, number, silent: Math.max(0, Math.floor(now - receivedAt)) }
  }
}
