// `memoryRetries()`: a retry store in the memory of this process.
import { Expiring } from './expiring.ts'
import { type Claim, KEPT, type Known, type OpenRetries, type RetryStore } from './store.ts'

const UNKNOWN: Known = Object.freeze({ state: 'unknown' })

interface Running {
  readonly hash: string
  readonly store: MemoryRetries
}

/** The requests of all hubs that share the store. */
interface Shared {
  readonly running: Map<string, Running>
  readonly done: Expiring<Known>
  readonly lifetime: number
  /** Since when all is known: `performance.now()`. */
  began: number
  readonly open: Set<MemoryRetries>
}

/**
 * Returns a retry store in the memory of this process. The hubs that open it share it.
 *
 * @param began since when it knows all requests, as `performance.now()`
 * @param lifetime how long an answered request is kept, in milliseconds
 */
export function memoryRetries(
  began: number = performance.now(),
  lifetime: number = KEPT,
): OpenRetries {
  const shared: Shared = {
    running: new Map(),
    done: new Expiring(lifetime),
    lifetime,
    began,
    open: new Set(),
  }
  return () => new MemoryRetries(shared)
}

/** The retry store, as one hub sees it. */
class MemoryRetries implements RetryStore {
  readonly #shared: Shared

  constructor(shared: Shared) {
    this.#shared = shared
    shared.open.add(this)
  }

  claim(id: string, hash: string, again: boolean): Claim {
    const { running, done, lifetime, began, open } = this.#shared
    const known = running.get(id) ?? done.get(id)
    if (known || !open.has(this)) return this.look(id)
    // A process that ended before this one began may have run it.
    if (again && performance.now() - began < lifetime) return UNKNOWN
    running.set(id, { hash, store: this })
    return { state: 'first' }
  }

  look(id: string): Known {
    const { running, done } = this.#shared
    const hash = running.get(id)?.hash
    return hash === undefined ? (done.get(id) ?? UNKNOWN) : { state: 'running', hash }
  }

  settle(id: string, answer: string | null): void {
    const claimed = this.#shared.running.get(id)
    if (claimed?.store !== this) return
    this.#end(id, { state: 'done', hash: claimed.hash, answer })
  }

  close(): void {
    const { running, done, open } = this.#shared
    open.delete(this)
    for (const [id, { store }] of running) if (store === this) this.#end(id, UNKNOWN)
    if (open.size > 0) return
    done.clear()
    this.#shared.began = performance.now()
  }

  #end(id: string, known: Known): void {
    this.#shared.running.delete(id)
    this.#shared.done.set(id, known)
  }
}
