// The instances that one instance knows, and which of them may have a part in a log.

import { rank } from './rendezvous.ts'

/** Ids of ended instances that are remembered: messages from them are ignored. */
const MOST_ENDED = 1_000

/** The instances that one instance knows. */
export class Members {
  readonly id: string
  /** The others that know this one. */
  readonly peers: Set<string> = new Set()
  /** Instances in the folder at the start that have not answered. */
  readonly expected: Set<string> = new Set()
  /** All instances in the folder know this one. */
  isUp = false
  isLeaving = false
  readonly #ups = new Set<string>()
  readonly #leaving = new Set<string>()
  readonly #ended = new Set<string>()

  constructor(id: string) {
    this.id = id
  }

  up(id: string): void {
    this.#ups.add(id)
  }

  leaving(id: string): void {
    this.#leaving.add(id)
  }

  /** An instance has ended for certain: killed, or closed. */
  end(id: string): void {
    for (const set of [this.peers, this.expected, this.#ups, this.#leaving]) set.delete(id)
    this.#ended.add(id)
    for (const first of this.#ended) {
      if (this.#ended.size <= MOST_ENDED) break
      this.#ended.delete(first)
    }
  }

  hasEnded(id: string): boolean {
    return this.#ended.has(id)
  }

  /** Whether an instance is this one, or known and not ended. */
  isAlive(id: string): boolean {
    return id === this.id || this.peers.has(id)
  }

  isLeavingPeer(id: string): boolean {
    return this.#leaving.has(id)
  }

  /** The instance that a log without a known owner is sent to. */
  first(log: string): string {
    return (
      rank(log, this.isLeaving ? this.#candidates() : [...this.#candidates(), this.id])[0] ??
      this.id
    )
  }

  /** The best of the other instances for a log; empty if there is none. */
  best(log: string): string {
    return rank(log, this.#candidates())[0] ?? ''
  }

  /** Whether all others are leaving, or there are none. */
  get isAlone(): boolean {
    return [...this.peers].every((id) => this.#leaving.has(id))
  }

  /** How many instances hold logs, this one included. */
  get count(): number {
    return this.#candidates().length + 1
  }

  #candidates(): string[] {
    return [...this.peers].filter((id) => this.#ups.has(id) && !this.#leaving.has(id))
  }
}
