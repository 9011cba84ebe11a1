// The bounds of the retried requests of one instance: keys of each client, and bytes of all.
import { Expiring } from './expiring.ts'
import { KEPT } from './store.ts'

/** The bounds of one instance. */
export interface RetryLimits {
  /** The largest number of keys of one user, or of one connection without a user. */
  readonly keys: number
  /** The largest size of one kept answer, in bytes of UTF-8. */
  readonly answer: number
  /** The largest size of all keys and kept answers, in bytes. */
  readonly total: number
}

export const RETRY_LIMITS: RetryLimits = { keys: 64, answer: 16_384, total: 67_108_864 }

/** What a key counts beside its answer, in bytes. */
const PER_KEY = 1_024
/** The part of the total for clients without a user, and the part for answers. */
const ANONYMOUS = 1 / 4
const ANSWERS = 3 / 4

/** The client that a key counts for. */
export interface RetryOwner {
  /** The user, or the connection without one. */
  readonly name: string
  readonly isAnonymous: boolean
  /** The largest number of its keys, where that differs from the limit of the instance. */
  readonly keys?: number
}

interface Share extends RetryOwner {
  bytes: number
}

/** The keys that this instance has claimed, within its bounds. */
export class Quota {
  readonly limits: RetryLimits
  readonly #running = new Map<string, Share>()
  readonly #done: Expiring<Share>
  readonly #keys = new Map<string, number>()
  #bytes = 0
  #anonymous = 0

  constructor(limits: RetryLimits = RETRY_LIMITS, lifetime: number = KEPT) {
    this.limits = limits
    this.#done = new Expiring(lifetime, (share) => this.#free(share))
  }

  /** Returns whether this instance has claimed a key. */
  has(id: string): boolean {
    return this.#running.has(id) || this.#done.get(id) !== undefined
  }

  /** Adds a key. Returns false when a bound is reached. */
  take(id: string, { name, isAnonymous, keys = this.limits.keys }: RetryOwner): boolean {
    const { total } = this.limits
    const held = this.#keys.get(name) ?? 0
    const isFull = this.#bytes + PER_KEY > total
    if (held >= keys || isFull) return false
    if (isAnonymous && this.#anonymous + PER_KEY > total * ANONYMOUS) return false
    const share = { name, isAnonymous, bytes: 0 }
    this.#running.set(id, share)
    this.#keys.set(name, held + 1)
    this.#grow(share, PER_KEY)
    return true
  }

  /** Gives a key back that was not claimed. */
  release(id: string): void {
    const share = this.#running.get(id)
    if (this.#running.delete(id) && share) this.#free(share)
  }

  /** Counts the answer to a key. Returns whether it may be kept. */
  settle(id: string, bytes: number): boolean {
    const share = this.#running.get(id)
    if (!share) return false
    this.#running.delete(id)
    this.#done.set(id, share)
    const { answer, total } = this.limits
    const most = total * ANSWERS
    const isKept =
      bytes <= answer &&
      this.#bytes + bytes <= most &&
      !(share.isAnonymous && this.#anonymous + bytes > most * ANONYMOUS)
    if (isKept) this.#grow(share, bytes)
    return isKept
  }

  clear(): void {
    this.#running.clear()
    this.#done.clear()
    this.#keys.clear()
    this.#bytes = this.#anonymous = 0
  }

  #grow(share: Share, bytes: number): void {
    share.bytes += bytes
    this.#bytes += bytes
    if (share.isAnonymous) this.#anonymous += bytes
  }

  #free(share: Share): void {
    const left = (this.#keys.get(share.name) ?? 1) - 1
    if (left > 0) this.#keys.set(share.name, left)
    else this.#keys.delete(share.name)
    this.#grow(share, -share.bytes)
  }
}
