// The state of the backplane, and its reason.
import { messageOf } from '../debug.ts'
import { AdapterError } from '../errors.ts'

/** The state of the backplane, as reported to the application. */
export interface Health {
  /**
   * `none`: this instance has no adapter. `connecting`: not connected yet.
   * `degraded`: the engine is unreachable or refuses something, and messages may reach this
   * instance only.
   */
  readonly state: 'none' | 'connecting' | 'ready' | 'degraded'
  /** The reason for the state, with the engine's error message if there is one. */
  readonly why: string
  /** When the state began, in epoch milliseconds. */
  readonly since: number
}

/**
 * A fault of a link that is up: the engine refuses a publish or a subscription, or hearing between
 * peers works in one direction only. `peers` faults outlive the link.
 */
type Fault = 'publish' | 'link' | 'peers'

/**
 * Derives the state from the link and its faults. Reports each change of the state or of its reason
 * once.
 */
export class LinkHealth {
  #link: 'connecting' | 'ready' | 'degraded' = 'connecting'
  #why = 'not connected yet'
  readonly #faults = new Map<Fault, string>()
  #told: Health
  readonly #changed: (health: Health, isFailure: boolean) => void

  /**
   * @param changed receives the new state, and whether the engine is unreachable or refuses
   * something
   */
  constructor(changed: (health: Health, isFailure: boolean) => void) {
    this.#changed = changed
    this.#told = { state: 'connecting', why: this.#why, since: Date.now() }
  }

  get current(): Health {
    return this.#told
  }

  /** Records that the link came up or went down. Both clear the faults of the link. */
  turn(link: 'ready' | 'degraded', why: string): void {
    this.#link = link
    this.#why = why
    this.#faults.delete('publish')
    this.#faults.delete('link')
    this.#tell(false)
  }

  /** Records a failed attempt to reach the engine: only the reason changes. */
  failed(why: string): void {
    if (this.#link === 'ready') return
    this.#why = why
    this.#tell(true)
  }

  /** Records a fault of a link that is up; null clears it. */
  fault(kind: Fault, why: string | null, isFailure: boolean = why !== null): void {
    if (this.#link !== 'ready' && kind !== 'peers') return
    if (why === null) this.#faults.delete(kind)
    else this.#faults.set(kind, why)
    this.#tell(isFailure)
  }

  #tell(isFailure: boolean): void {
    const [fault] = this.#link === 'ready' ? this.#faults.values() : []
    const state = fault === undefined ? this.#link : 'degraded'
    const why = fault ?? this.#why
    const { state: before, why: reason, since } = this.#told
    if (state === before && why === reason) return
    this.#told = { state, why, since: state === before ? since : Date.now() }
    this.#changed(this.#told, isFailure)
  }
}

/**
 * Returns the reason of an error, in one line. Messages of adapter errors are already safe to
 * print.
 */
export function reasonOf(error: unknown): string {
  return error instanceof AdapterError ? error.message : messageOf(error)
}
