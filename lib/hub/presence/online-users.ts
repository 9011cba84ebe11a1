import { type Flushable, flushAtEndOfTurn } from '../../connection/turn.ts'
import { keepersOf } from './keepers.ts'

/** What one instance tells a keeper. */
export interface UsersNote {
  /** Users that have a connection to the one who tells. */
  readonly here?: readonly string[]
  /** They were online before: nobody need be told. */
  readonly known?: boolean
  /** Users that have none any more. */
  readonly gone?: readonly string[]
  /** Users without a connection who do not count as offline yet. */
  readonly lingering?: readonly string[]
}

/** What `OnlineUsers` needs. */
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
}

/**
 * Who is online, over all instances. Each user has two keepers, whom instances with a connection of that
 * user tell; the first of the two that lives calls the hooks.
 */
export class OnlineUsers implements Flushable {
  readonly #host: OnlineUsersHost
  /** Users with a connection to this instance. */
  readonly #here = new Set<string>()
  readonly #kept = new Map<string, Kept>()
  /** Whose keepers are to be told at the end of this turn. */
  readonly #changed = new Set<string>()

  constructor(host: OnlineUsersHost) {
    this.#host = host
  }

  /** A user has a first connection to this instance, or no more. */
  changed(user: string, here: boolean): void {
    if (here) this.#here.add(user)
    else this.#here.delete(user)
    if (this.#changed.size === 0) flushAtEndOfTurn(this)
    this.#changed.add(user)
  }

  flush(): void {
    const users = [...this.#changed]
    this.#changed.clear()
    const here = users.filter((user) => this.#here.has(user))
    const gone = users.filter((user) => !this.#here.has(user))
    this.#tell(here, (part) => ({ here: part }))
    this.#tell(gone, (part) => ({ gone: part }))
  }

  /** An instance tells this one, which it takes for a keeper. */
  told(from: string, { here = [], known = false, gone = [], lingering = [] }: UsersNote): void {
    for (const user of here) this.#came(user, from, known)
    for (const user of gone) this.#went(user, from)
    for (const user of lingering) if (!this.#kept.has(user)) this.#lingers(user, this.#keep(user))
  }

  /** Another instance has come: it keeps some of the users now. */
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

  /** Another instance has gone, and with it its connections and what it kept. */
  left(peer: string): void {
    for (const user of [...this.#kept.keys()]) this.#went(user, peer)
    const peers = this.#host.peers()
    const before = [this.#host.id, peer, ...peers]
    const moved = [...this.#here].filter((user) => keepersOf(user, before).includes(peer))
    this.#tell(moved, (part) => ({ here: part, known: true }))
  }

  /** Others may have taken this instance for dead. */
  tellAll(): void {
    this.#tell([...this.#here], (part) => ({ here: part }))
  }

  close(): void {
    for (const user of [...this.#kept.keys()]) this.#drop(user)
  }

  #came(user: string, from: string, known: boolean): void {
    const isNew = !this.#kept.has(user)
    const kept = this.#keep(user)
    kept.holders.add(from)
    if (kept.timer) clearTimeout(kept.timer)
    kept.timer = null
    if (isNew && !known && this.#acts(user)) this.#host.online(user)
  }

  #went(user: string, from: string): void {
    const kept = this.#kept.get(user)
    if (!kept?.holders.delete(from) || kept.holders.size > 0) return
    this.#lingers(user, kept)
  }

  #lingers(user: string, kept: Kept): void {
    kept.timer = setTimeout(() => {
      this.#kept.delete(user)
      if (this.#acts(user)) this.#host.offline(user)
    }, this.#host.linger)
    kept.timer.unref()
  }

  #keep(user: string): Kept {
    let kept = this.#kept.get(user)
    if (!kept) {
      kept = { holders: new Set(), timer: null }
      this.#kept.set(user, kept)
    }
    return kept
  }

  #drop(user: string): void {
    const timer = this.#kept.get(user)?.timer
    if (timer) clearTimeout(timer)
    this.#kept.delete(user)
  }

  #acts(user: string): boolean {
    return this.#keepersOf(user)[0] === this.#host.id
  }

  #keepersOf(user: string): string[] {
    return keepersOf(user, [this.#host.id, ...this.#host.peers()])
  }

  /** Tell each keeper of these users of its own in one note. */
  #tell(users: readonly string[], noteOf: (part: string[]) => UsersNote): void {
    const parts = new Map<string, string[]>()
    for (const user of users) {
      for (const keeper of this.#keepersOf(user)) {
        const part = parts.get(keeper)
        if (part) part.push(user)
        else parts.set(keeper, [user])
      }
    }
    for (const [keeper, part] of parts) this.#note(keeper, noteOf(part))
  }

  #note(keeper: string, note: UsersNote): void {
    if (keeper === this.#host.id) this.told(keeper, note)
    else this.#host.note(keeper, note)
  }
}
