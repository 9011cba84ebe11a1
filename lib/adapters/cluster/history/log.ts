// What one instance knows of one log.

import type { NewEntry, Place, Reading } from '../../../history/store.ts'
import type { Copy, Snapshot } from './copy.ts'
import type { Question } from './messages.ts'

/** The last known owner. */
export interface Hint {
  readonly ballot: string
  readonly id: string
}

/** A call that waits for a result. */
export interface Waiter<T> {
  readonly settle: (result: T) => void
  readonly fail: (error: Error) => void
}

/** An entry that this instance publishes. */
export interface Publication {
  n: number
  readonly entry: NewEntry
  /** When it was last sent. */
  sent: number
  readonly waiters: Waiter<Place>[]
}

/** A question that waits for its answer. */
export interface Pending {
  readonly question: Question
  sent: number
  /** When it is asked again without another reason, in milliseconds after `sent`. */
  again: number
  readonly waiter: Waiter<Reading>
}

/** The wish of this instance to own a log. */
export interface Claim {
  readonly ballot: string
  readonly handFrom: string
  readonly began: number
  /** The instances that have not answered. */
  readonly waiting: Set<string>
  /** The copies of the others; null where it does not exceed the one here. */
  readonly copies: Map<string, Snapshot | null>
  /** Replicas and owners, with the owner that each one names. */
  readonly busy: Map<string, string>
  readonly followers: Set<string>
  newest: string
  forgotten: number
}

/** Why a log is claimed. */
export interface Wanted {
  /** Whether to begin a log that does not exist. */
  create: boolean
  /** An epoch that it has to sort after. */
  after: string
  /** Questions to answer if there is none, by their sender and number: each may come several times. */
  readonly asked: Map<string, { readonly from: string; readonly number: number }>
}

/** What the owner of a log keeps beside its copy. */
export interface Ownership {
  /** `activating` until older copies are gone; `handing` when another instance takes over. */
  state: 'activating' | 'active' | 'handing'
  /** The instance with the second copy; empty without one. */
  replica: string
  isInstalled: boolean
  /** The number up to which the replica has the entries. */
  replicated: number
  /** Instances that may have an older copy, and are still to be asked to drop it. */
  holders: Set<string>
  /** Instances that were asked to drop it; null when all have. */
  undropped: Set<string> | null
  readonly followers: Set<string>
}

/** What one instance knows of one log. */
export class Log {
  readonly name: string
  /** The latest ballot that it has promised to follow. */
  promised: string
  hint: Hint = { ballot: '', id: '' }
  /** The newest epoch that it has heard of. */
  newest = ''
  copy: Copy | null = null
  /** The owner, if this instance is its replica; otherwise empty. */
  boundTo = ''
  ownership: Ownership | null = null
  claim: Claim | null = null
  readonly wanted: Wanted = { create: false, after: '', asked: new Map() }
  follows = false
  readonly pending: Map<number, Pending> = new Map()
  /** The entries that it publishes, and their numbers. */
  readonly out: Publication[] = []
  /** The same by their keys. */
  readonly outKeys: Map<string, Publication> = new Map()
  outEpoch = ''
  n = 0
  /** Tells the owner this state from an earlier one with numbers that were forgotten. */
  readonly series: number
  /** When it was last used. */
  used: number

  constructor(name: string, series: number, promised: string, now: number) {
    this.name = name
    this.series = series
    this.promised = promised
    this.used = now
  }

  /** Whether there is no copy here, or certainly another one. */
  get isSecure(): boolean {
    if (!this.copy) return true
    if (!this.ownership) return this.boundTo !== ''
    const { state, replica, isInstalled, undropped } = this.ownership
    return state !== 'activating' && replica !== '' && isInstalled && !undropped
  }

  /** Whether it can be forgotten. */
  get isIdle(): boolean {
    return (
      !this.copy &&
      !this.ownership &&
      !this.claim &&
      !this.follows &&
      this.out.length === 0 &&
      this.pending.size === 0
    )
  }
}
