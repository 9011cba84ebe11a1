// What the instances say to each other about the history of logs.

import type { Entry, Place, Reading } from '../../../history/store.ts'
import type { Kept, Snapshot } from './copy.ts'

/** An instance that starts, and the answer of each that is there. */
export interface Hello {
  readonly kind: 'hello'
}
export interface Welcome {
  readonly kind: 'welcome'
  readonly isUp: boolean
  readonly isLeaving: boolean
  /** The instances that it knows: the receiver has to know them too. */
  readonly peers: readonly string[]
  /** If its logs are on two instances: the ends of others that it knows of. */
  readonly ends: readonly string[]
  readonly forgotten: number
}
/** All instances know the sender: it may own logs. */
export interface Up {
  readonly kind: 'up'
}
/** The sender hands over what it has, and ends. */
export interface Leaving {
  readonly kind: 'leaving'
}
/** The sender has handed over everything. */
export interface Empty {
  readonly kind: 'empty'
}
/** All logs of the sender are on two instances again, after the end of others. */
export interface Secure {
  readonly kind: 'secure'
  readonly ends: readonly string[]
}
/** Entries for the receiver were discarded, because it took too little. */
export interface Missed {
  readonly kind: 'missed'
}

/** An entry to record. */
export interface Publish {
  readonly kind: 'publish'
  readonly log: string
  readonly epoch: string
  readonly from: string
  readonly series: number
  readonly n: number
  readonly known: number
  readonly key: string
  readonly count: number
  readonly payload: Buffer
}
/** Entries are recorded. */
export interface Done {
  readonly kind: 'done'
  readonly log: string
  readonly epoch: string
  readonly series: number
  /** The number of the first one. */
  readonly n: number
  /** The offset of each, in the order of their numbers. */
  readonly offsets: readonly number[]
}
/** The publisher numbers its entries anew: the log has another epoch. */
export interface Reset {
  readonly kind: 'reset'
  readonly log: string
  readonly epoch: string
}
/** Another instance owns the log. */
export interface Redirect {
  readonly kind: 'redirect'
  readonly log: string
  readonly ballot: string
  readonly id: string
}

/** The sender wants to own the log. */
export interface Gather {
  readonly kind: 'gather'
  readonly log: string
  readonly ballot: string
  /** The owner that asked for it; empty if none did. */
  readonly handFrom: string
  /** The copy of the sender; both empty without one. */
  readonly has: string
  readonly seq: number
}
/** The receiver of a `gather` promises to follow no older claim. */
export interface Promised {
  readonly kind: 'promised'
  readonly log: string
  readonly ballot: string
  /** Whether the sender has a copy; sent only if it exceeds that of the claimant. */
  readonly holds: boolean
  readonly copy: Snapshot | null
  readonly follows: boolean
  /** The newest epoch that the sender knows of, and the time before which logs were forgotten. */
  readonly newest: string
  readonly forgotten: number
}
/** The log has an owner. */
export interface Busy {
  readonly kind: 'busy'
  readonly log: string
  readonly ballot: string
  readonly owner: string
  readonly owned: string
}
/** The receiver of a `gather` has promised to follow a later claim. */
export interface Refused {
  readonly kind: 'refused'
  readonly log: string
  readonly ballot: string
  readonly promised: string
}
/** The owner asks the receiver to claim the log. */
export interface Take {
  readonly kind: 'take'
  readonly log: string
}

/** The receiver becomes the replica of the sender. */
export interface Install {
  readonly kind: 'install'
  readonly log: string
  readonly copy: Snapshot
}
export interface Installed {
  readonly kind: 'installed'
  readonly log: string
  readonly ballot: string
  readonly seq: number
}
/** The receiver of an `install` has promised to follow a later claim. */
export interface Stale {
  readonly kind: 'stale'
  readonly log: string
  readonly ballot: string
  readonly promised: string
}
/** An entry for the replica, and the number up to which entries are committed. */
export interface Replicate {
  readonly kind: 'replicate'
  readonly log: string
  readonly ballot: string
  readonly entry: Kept
  readonly done: number
}
/** The replica has the entries up to a number. */
export interface Replicated {
  readonly kind: 'replicated'
  readonly log: string
  readonly ballot: string
  readonly seq: number
}
/** The receiver discards its copy: it is older. */
export interface Drop {
  readonly kind: 'drop'
  readonly log: string
  readonly ballot: string
}
export interface Dropped {
  readonly kind: 'dropped'
  readonly log: string
  readonly ballot: string
}

/** The sender owns the log. */
export interface Owns {
  readonly kind: 'owns'
  readonly log: string
  readonly ballot: string
  readonly epoch: string
}
/** Entries for a follower that has them as the replica, up to a number. */
export interface Committed {
  readonly kind: 'committed'
  readonly log: string
  readonly ballot: string
  readonly seq: number
}
/** Entries for another follower. */
export interface Recorded {
  readonly kind: 'recorded'
  readonly log: string
  readonly epoch: string
  readonly entries: readonly Entry[]
}
export interface Unfollow {
  readonly kind: 'unfollow'
  readonly log: string
}

/** What an instance asks the owner of a log. */
export type Question =
  | { readonly want: 'read'; readonly since: Place | null }
  | { readonly want: 'top' | 'follow' }
  | { readonly want: 'renew'; readonly seen: Place }

export interface Ask {
  readonly kind: 'ask'
  readonly log: string
  readonly number: number
  readonly question: Question
}
/** The answer to an `ask`. */
export interface Answer {
  readonly kind: 'answer'
  readonly log: string
  readonly number: number
  readonly reading: Reading
}
/** The answer to an `ask` about a log that does not exist. */
export interface None {
  readonly kind: 'none'
  readonly log: string
  readonly number: number
  /** When the log was looked for. */
  readonly at: number
  readonly newest: string
  readonly forgotten: number
}

/** Messages about one log. */
export type LogMessage =
  | Publish
  | Done
  | Reset
  | Redirect
  | Gather
  | Promised
  | Busy
  | Refused
  | Take
  | Install
  | Installed
  | Stale
  | Replicate
  | Replicated
  | Drop
  | Dropped
  | Owns
  | Committed
  | Recorded
  | Unfollow
  | Ask
  | Answer
  | None

/** Messages about the instances. */
export type MemberMessage = Hello | Welcome | Up | Leaving | Empty | Secure | Missed

export type Message = MemberMessage | LogMessage
