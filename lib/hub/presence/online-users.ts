// Tracks the users online over all instances, and decides which instance calls the hooks.

import { type Flushable, flushAtEndOfTurn } from '../../connection/turn.ts'
import { keepersOf } from './keepers.ts'

/** A note from an instance to a keeper. */
export interface UsersNote {
  /** Users with a connection to the sending instance. */
  readonly here?: readonly string[]
  /** The users in `here` were online before, so their hook has already been called. */
  readonly known?: boolean
  /** `here` is complete: all other users have no connection to the sending instance. */
  readonly all?: boolean
  /** Users that no longer have a connection to the sending instance. */
  readonly gone?: readonly string[]
  /** Users without a connection that still linger, and count as online. */
  readonly lingering?: readonly string[]
  /** Users for which `onOnline` has been called. */
  readonly announced?: readonly string[]
  /** Users for which the sending instance expects an announcement that has not arrived. */
  readonly unannounced?: readonly string[]
}

/** How long the first keeper has to announce a user, in milliseconds. */
const PATIENCE = 5_000
/** The same after an instance has gone: its last notes may still be on the way. */
const SOON = 250

/** What `OnlineUsers` needs of presence. */
export interface OnlineUsersHost {
  readonly id: string
  readonly linger: number
  /** The other instances. */
  peers(): readonly string[]
  note(to: string, note: UsersNote): void
  online(user: string): void
  offline(user: string): void
}

/** A user that this instance keeps. */
interface Kept {
  /** Instances with a connection of the user. */
  readonly holders: Set<string>
  timer: NodeJS.Timeout | null
  /** As far as this instance knows, `onOnline` has been called for the user. */
  announced: boolean
  /** `announced` comes from a note with `known`, not from the first keeper itself. */
  isHearsay: boolean
}

/**
 * The users online over all instances. Each user has two keepers, and the instances with a
 * connection of that user send notes to both. The first live keeper calls the hooks and announces
 * that to the second, which would otherwise call them.
 */
export class OnlineUsers implements Flushable {
  readonly #host: OnlineUsersHost
  /** Users with a connection to this instance. */
  readonly #here = new Set<string>()
  readonly #kept = new Map<string, Kept>()
  /** Users with news for their keepers, sent at the end of this turn. */
  readonly #changed = new Set<string>()
  /** Users announced in this turn: the other keeper gets a note. */
  readonly #announced = new Set<string>()
  /** Users that another keeper should have announced, and has not announced yet. */
  readonly #unannounced = new Set<string>()
  #checking: NodeJS.Timeout | null = null
  #closed = false

  constructor(host: OnlineUsersHost) {
    this.#host = host
  }

  /** Records that a user got its first connection to this instance, or lost its last. */
  changed(user: string, here: boolean): void {
    if (here) this.#here.add(user)
    else this.#here.delete(user)
    this.#flushSoon()
    this.#changed.add(user)
  }

  flush(): void {
    const users = [...this.#changed]
    this.#changed.clear()
    const here = users.filter((user) => this.#here.has(user))
    const gone = users.filter((user) => !this.#here.has(user))
    this.#tell(here, (part) => ({ here: part }))
    this.#tell(gone, (part) => ({ gone: part }))
    for (const [keeper, announced] of this.#byKeeper(this.#announced)) {
      if (keeper !== this.#host.id) this.#note(keeper, { announced })
    }
    this.#announced.clear()
  }

  /** Handles a note from an instance that considers this one a keeper. */
  told(from: string, note: UsersNote): void {
    if (this.#closed) return
    const { here = [], known = false, all = false, gone = [], lingering = [] } = note
    const { announced = [], unannounced = [] } = note
    for (const user of here) this.#came(user, from, known)
    for (const user of gone) this.#went(user, from)
    if (all) {
      const there = new Set(here)
      for (const user of [...this.#kept.keys()]) if (!there.has(user)) this.#went(user, from)
    }
    for (const user of [...lingering, ...announced]) {
      if (!this.#kept.has(user)) this.#lingers(user, this.#keep(user))
      this.#isAnnounced(user)
    }
    for (const user of unannounced) this.#isAsked(user)
  }

  /** Sends notes about users that a new instance now keeps. */
  joined(peer: string): void {
    const moved = [...this.#here].filter((user) => this.#keepersOf(user).includes(peer))
    if (moved.length > 0) this.#note(peer, { here: moved, known: true })
    const lingering: string[] = []
    for (const [user, { timer }] of this.#kept) {
      const keepers = this.#keepersOf(user)
      if (timer && keepers.includes(peer)) lingering.push(user)
      if (!keepers.includes(this.#host.id)) this.#drop(user)
    }
    if (lingering.length > 0) this.#note(peer, { lingering })
  }

  /** Removes the connections of an instance that has gone, and tells its successors as keepers. */
  left(peer: string): void {
    for (const user of [...this.#kept.keys()]) this.#went(user, peer)
    const peers = this.#host.peers()
    const before = [this.#host.id, peer, ...peers]
    const moved = [...this.#here].filter((user) => keepersOf(user, before).includes(peer))
    this.#tell(moved, (part) => ({ here: part, known: true }))
    const lingering = [...this.#kept].filter(([, { timer }]) => timer).map(([user]) => user)
    const moving = lingering.filter((user) => keepersOf(user, before).includes(peer))
    for (const [keeper, part] of this.#byKeeper(moving)) {
      if (keeper !== this.#host.id) this.#note(keeper, { lingering: part })
    }
    if (this.#unannounced.size > 0) this.#checkIn(SOON)
  }

  /** Sends notes about all users, because other instances may have considered this one dead. */
  tellAll(): void {
    for (const peer of [this.#host.id, ...this.#host.peers()]) this.tell(peer)
  }

  /** Sends one instance the complete list of its users here, because it may have missed changes. */
  tell(peer: string): void {
    const here = [...this.#here].filter((user) => this.#keepersOf(user).includes(peer))
    this.#note(peer, { here, all: true })
  }

  close(): void {
    this.#closed = true
    if (this.#checking) clearTimeout(this.#checking)
    for (const user of [...this.#kept.keys()]) this.#drop(user)
  }

  #came(user: string, from: string, known: boolean): void {
    const isNew = !this.#kept.has(user)
    const kept = this.#keep(user)
    kept.holders.add(from)
    if (kept.timer) clearTimeout(kept.timer)
    kept.timer = null
    if (!isNew) return
    if (known) kept.announced = kept.isHearsay = true
    else if (this.#acts(user)) this.#announce(user)
    else {
      this.#unannounced.add(user)
      this.#checkLater()
    }
  }

  #announce(user: string): void {
    this.#isAnnounced(user)
    this.#flushSoon()
    this.#announced.add(user)
    this.#host.online(user)
  }

  #isAnnounced(user: string): void {
    this.#unannounced.delete(user)
    const kept = this.#kept.get(user)
    if (!kept) return
    kept.announced = true
    kept.isHearsay = false
  }

  /** Answers the other keeper, which has not received an announcement of a user. */
  #isAsked(user: string): void {
    if (!this.#acts(user)) return
    const isNew = !this.#kept.has(user)
    const kept = this.#keep(user)
    if (isNew) this.#lingers(user, kept) // its instance sends a note with the connection later
    if (!kept.announced || kept.isHearsay) this.#announce(user)
    else {
      this.#flushSoon()
      this.#announced.add(user)
    }
  }

  /** Checks for missing announcements: the first keeper may have died, or may not know the user. */
  #check(): void {
    const asked = new Map<string, string[]>()
    for (const user of [...this.#unannounced]) {
      const kept = this.#kept.get(user)
      const keepers = this.#keepersOf(user)
      const [first] = keepers as [string]
      if (!kept || !keepers.includes(this.#host.id)) this.#drop(user)
      else if (first === this.#host.id) this.#announce(user)
      else if (!asked.get(first)?.push(user)) asked.set(first, [user])
    }
    for (const [first, unannounced] of asked) this.#note(first, { unannounced })
    this.#checkLater()
  }

  #checkLater(): void {
    if (!this.#checking && this.#unannounced.size > 0) this.#checkIn(PATIENCE)
  }

  #checkIn(ms: number): void {
    if (this.#checking) clearTimeout(this.#checking)
    this.#checking = setTimeout(() => {
      this.#checking = null
      this.#check()
    }, ms)
    this.#checking.unref()
  }

  #flushSoon(): void {
    if (this.#changed.size === 0 && this.#announced.size === 0) flushAtEndOfTurn(this)
  }

  #went(user: string, from: string): void {
    const kept = this.#kept.get(user)
    if (!kept?.holders.delete(from) || kept.holders.size > 0) return
    this.#lingers(user, kept)
  }

  #lingers(user: string, kept: Kept): void {
    kept.timer = setTimeout(() => {
      this.#drop(user)
      if (kept.announced && this.#acts(user)) this.#host.offline(user)
    }, this.#host.linger)
    kept.timer.unref()
  }

  #keep(user: string): Kept {
    let kept = this.#kept.get(user)
    if (!kept) {
      kept = { holders: new Set(), timer: null, announced: false, isHearsay: false }
      this.#kept.set(user, kept)
    }
    return kept
  }

  #drop(user: string): void {
    const timer = this.#kept.get(user)?.timer
    if (timer) clearTimeout(timer)
    this.#kept.delete(user)
    this.#unannounced.delete(user)
  }

  #acts(user: string): boolean {
    return this.#keepersOf(user)[0] === this.#host.id
  }

  #keepersOf(user: string): string[] {
    return keepersOf(user, [this.#host.id, ...this.#host.peers()])
  }

  /** Sends one note to each keeper with its part of these users. */
  #tell(users: readonly string[], noteOf: (part: string[]) => UsersNote): void {
    for (const [keeper, part] of this.#byKeeper(users)) this.#note(keeper, noteOf(part))
  }

  #byKeeper(users: Iterable<string>): Map<string, string[]> {
    const parts = new Map<string, string[]>()
    for (const user of users) {
      for (const keeper of this.#keepersOf(user)) {
        const part = parts.get(keeper)
        if (part) part.push(user)
        else parts.set(keeper, [user])
      }
    }
    return parts
  }

  #note(keeper: string, note: UsersNote): void {
    if (keeper === this.#host.id) this.told(keeper, note)
    else this.#host.note(keeper, note)
  }
}
