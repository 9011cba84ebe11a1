// The other instances, and whether each is alive.
import type { Elsewhere } from './hearing.ts'
import type { HeardNote, HeardPeer } from './notes.ts'

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
/** For how many leases a peer is named after it left: a late process sends beats without a note. */
const NAMING = 2
/** The most peers in one note about heard peers, and the most peers that left. */
const NAMED = 50
/** The most peers to remember after they left. */
const LEFT = 1_000

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

/** A peer that has left. */
interface Departed extends Pick<Peer, 'number' | 'receivedAt' | 'period'> {
  readonly leftAt: number
  /** Whether a loss was reported then. */
  readonly isReported: boolean
}

/** What becomes known of the peers. */
export interface PeerEvents {
  joined(id: string): void
  /** @param since all publishes before this time have arrived. @returns whether a loss was reported */
  left(id: string, since: number): boolean
  /** Reports that a beat sent after `since` did not arrive, though the peer is alive. */
  missed(id: string, since: number): void
  /**
   * Reports that another instance heard later beats of a peer that is gone for all, or that a peer came and went
   * while this instance heard nothing.
   */
  outlived(id: string): void
}

/** Tracks the other instances by their beats. Times are monotonic, in milliseconds. */
export class Peers {
  readonly #peers = new Map<string, Peer>()
  /** Peers that left within four leases, or that others have heard since; earliest first. */
  readonly #left = new Map<string, Departed>()
  readonly #events: PeerEvents
  /** The last outage of this instance: when it last heard something before, and when it could hear again. */
  #outage = { from: Infinity, to: Infinity }
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
    if (period === 0) {
      if (peer) {
        if (number > peer.number + 1) this.#events.missed(id, peer.beatAt)
        peer.number = number
      }
      this.gone(id, now)
    } else if (!peer) {
      this.#left.delete(id)
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

  gone(id: string, now: number): void {
    const peer = this.#peers.get(id)
    if (!peer) return
    this.#peers.delete(id)
    const { number, receivedAt, period } = peer
    const isReported = this.#events.left(id, peer.beatAt)
    this.#left.set(id, { number, receivedAt, period, leftAt: now, isReported })
    const [first] = this.#left.keys()
    if (this.#left.size > LEFT) this.#left.delete(first as string)
  }

  /**
   * Removes peers that have been silent for too long. Reports peers of which another instance heard
   * later beats.
   *
   * @param elsewhere returns what other instances heard of a peer
   */
  expire(now: number, elsewhere: (id: string) => Elsewhere | undefined): void {
    for (const [id, { heardAt, period }] of this.#peers) {
      if (now - heardAt > LEASE * period) this.gone(id, now)
    }
    for (const [id, { number, period, leftAt, isReported }] of this.#left) {
      const heard = elsewhere(id)
      const lease = LEASE * period
      // Until then the peer may still live: when it is heard again, its positions show what was lost.
      const isOutlived = heard !== undefined && heard.number > number && now - heard.at > lease
      if (isOutlived && !isReported) this.#events.outlived(id)
      // Longer than others name it: otherwise `departed` would take it for a new one.
      const isOld = now - Math.max(leftAt, heard?.at ?? 0) > 2 * NAMING * lease
      if (isOutlived || isOld) this.#left.delete(id)
    }
  }

  /** This instance cannot hear the others any more: an outage begins. */
  cut(now: number): void {
    const heard = [...this.#peers.values()].map(({ receivedAt }) => receivedAt)
    this.#outage = { from: heard.length > 0 ? Math.max(...heard) : now, to: Infinity }
  }

  /** The outage is over. */
  restored(now: number): void {
    this.#outage.to = now
    this.renew(now)
  }

  /**
   * Another instance names peers that have left it. Reports each that came and went in the last outage, because no
   * instance tells its positions any more.
   *
   * @param period the interval of beats, in milliseconds: each is reported once
   */
  departed(left: readonly HeardPeer[], period: number, now: number): void {
    const { from, to } = this.#outage
    for (const { id, number, silent } of left) {
      const receivedAt = now - silent
      if (this.#peers.has(id) || this.#left.has(id) || receivedAt < from || receivedAt > to + SLACK)
        continue
      this.#left.set(id, { number, receivedAt, period, leftAt: now, isReported: true })
      this.#events.outlived(id)
    }
  }

  /** Renews all leases after an outage, during which this instance heard no peer. */
  renew(now: number): void {
    for (const [id, peer] of this.#peers) {
      this.#peers.set(id, { ...peer, heardAt: now, receivedAt: now, knownAt: now })
    }
  }

  /** Returns the heard peers for a note, or the next part of them in the order of their ids. */
  named(now: number): Omit<HeardNote, 'type'> {
    const ids = this.ids.sort()
    const after = ids.length > NAMED ? this.#namedUntil : ''
    const rest = ids.filter((id) => id > after)
    const part = rest.slice(0, NAMED)
    const until = rest.length > NAMED ? (part.at(-1) ?? '') : ''
    this.#namedUntil = until
    const left = [...this.#left]
      .filter(([, { leftAt, period }]) => now - leftAt <= NAMING * LEASE * period)
      .slice(-NAMED)
      .map(([id, peer]) => nameOf(id, peer, now))
    return { after, until, peers: part.map((id) => this.#name(id, now)), left }
  }

  /** Returns the same for a note to one peer: whether this instance hears it. */
  namedTo(peer: string, now: number): Omit<HeardNote, 'type'> {
    const ids = this.ids.filter((id) => id <= peer).sort()
    const isHeard = ids.at(-1) === peer
    const after = ids.at(isHeard ? -2 : -1) ?? ''
    return { after, until: peer, peers: isHeard ? [this.#name(peer, now)] : [], left: [] }
  }

  #name(id: string, now: number): HeardPeer {
    return nameOf(id, this.#peers.get(id) as Peer, now)
  }
}

function nameOf(
  id: string,
  { number, receivedAt }: Pick<Peer, 'number' | 'receivedAt'>,
  now: number,
): HeardPeer {
  return { id, number, silent: Math.max(0, Math.floor(now - receivedAt)) }
}
