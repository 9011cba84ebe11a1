/** An instance that says nothing for so many of its periods is gone. */
const PATIENCE = 3
/** So many instances beat at the period that was asked for; more of them beat more slowly. */
const EVEN = 50

interface Peer {
  /** The number of its last beat. */
  number: number
  heardAt: number
  period: number
}

/** What `Peers` tells. */
export interface PeersHost {
  joined(id: string): void
  left(id: string): void
  /** It has spoken, and something that it said before did not arrive. */
  missed(id: string): void
}

/** The other instances: who lives, by what each says of itself. Times are monotonic. */
export class Peers {
  readonly #peers = new Map<string, Peer>()
  readonly #host: PeersHost

  constructor(host: PeersHost) {
    this.#host = host
  }

  get ids(): string[] {
    return [...this.#peers.keys()]
  }

  get size(): number {
    return this.#peers.size
  }

  /** How often this instance speaks: among many more seldom, so that all together stay bearable. */
  period(wanted: number): number {
    return Math.round(wanted * Math.max(1, (this.#peers.size + 1) / EVEN))
  }

  heard(id: string, number: number, period: number, now: number): void {
    const peer = this.#peers.get(id)
    if (period === 0) this.gone(id)
    else if (!peer) {
      this.#peers.set(id, { number, period, heardAt: now })
      this.#host.joined(id)
    } else if (number > peer.number) {
      const missed = number > peer.number + 1
      Object.assign(peer, { number, period, heardAt: now })
      if (missed) this.#host.missed(id)
    }
  }

  gone(id: string): void {
    if (this.#peers.delete(id)) this.#host.left(id)
  }

  /** Take leave of those who have been silent for too long. */
  expire(now: number): void {
    for (const [id, { heardAt, period }] of this.#peers) {
      if (now - heardAt > PATIENCE * period) this.gone(id)
    }
  }

  /** This instance was cut off, and could not hear anybody. */
  renew(now: number): void {
    for (const peer of this.#peers.values()) peer.heardAt = now
  }
}
