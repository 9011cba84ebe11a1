// The second copy of an owned log: installs it, commits what it has, and hands the log over.

import type { Entry } from '../../../history/store.ts'
import { latest, nextBallot } from './ballot.ts'
import type { Context } from './context.ts'
import type { Copy, Kept } from './copy.ts'
import type { Log, Ownership } from './log.ts'
import type { Dropped, Installed, Replicated, Stale } from './messages.ts'

/** How long an ended publisher is remembered: its last messages may arrive late, in milliseconds. */
const PUBLISHER = 600_000

/**
 * The second copy of an owned log. Nothing is committed before the replica has it, and before every
 * older copy is dropped or its holder has ended: a takeover would otherwise go on from a copy without it.
 */
export class Replication {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /** Replaces a replica that is missing or leaves. */
  mend(log: Log): void {
    const { ownership } = log
    if (!ownership || !isSettled(ownership)) return
    const { members } = this.#context
    const { replica, holders } = ownership
    const best = members.best(log.name)
    const isLeaving = replica !== '' && members.isLeavingPeer(replica)
    if (replica !== '' && !isLeaving) return
    // A replica that leaves is released, even if no other one is there.
    if (isLeaving) holders.add(replica)
    if (best === '' && holders.size > 0) {
      ownership.replica = ''
      this.#dropOlder(log, ownership)
    } else if (best === '') this.commit(log, ownership)
    if (best === '') return
    ownership.replicated = 0
    this.#install(log, ownership)
  }

  /** Gives the log to another instance, when all is committed. */
  hand(log: Log): void {
    const { ownership, copy } = log
    if (!ownership || !copy) return
    this.#context.unsettled.add(log)
    if (ownership.state === 'active') ownership.state = 'handing'
    if (ownership.state !== 'handing' || !isSettled(ownership)) return
    if (copy.done.seq < copy.last.seq) {
      this.mend(log)
      return
    }
    const target = this.#context.members.best(log.name)
    if (target !== '') this.#context.send(target, { kind: 'take', log: log.name })
    else if (!this.#context.members.isLeaving) ownership.state = 'active'
  }

  /** Another instance has ended. */
  ended(log: Log, id: string): void {
    const { ownership } = log
    if (!ownership) return
    ownership.followers.delete(id)
    ownership.holders.delete(id)
    const isLast = ownership.undropped?.delete(id)
    if (ownership.replica === id) {
      ownership.replica = ''
      ownership.replicated = 0
      if (isSettled(ownership) && ownership.isInstalled) this.mend(log)
      else this.#install(log, ownership)
    } else if (isLast) this.#settle(log, ownership)
  }

  installed(log: Log, from: string, { ballot, seq }: Installed): void {
    const { ownership, copy } = log
    if (!ownership || copy?.ballot !== ballot) return
    if (ownership.replica !== from || ownership.isInstalled) return
    raise(ownership, copy, seq)
    this.#dropOlder(log, ownership)
  }

  /** The replica has promised to follow a later claim: the same again with a later ballot. */
  stale(log: Log, from: string, { ballot, promised }: Stale): void {
    const { ownership, copy } = log
    if (!ownership || copy?.ballot !== ballot) return
    if (ownership.replica !== from || ownership.isInstalled) return
    log.promised = nextBallot(
      latest(log.promised, promised),
      this.#context.environment.now(),
      this.#id,
    )
    copy.ballot = log.promised
    this.#context.know(log, copy.ballot, this.#id)
    this.#install(log, ownership)
  }

  replicated(log: Log, from: string, { ballot, seq }: Replicated): void {
    const { ownership, copy } = log
    if (!ownership || copy?.ballot !== ballot || ownership.replica !== from) return
    raise(ownership, copy, seq)
    this.commit(log, ownership)
  }

  dropped(log: Log, from: string, { ballot }: Dropped): void {
    const { ownership, copy } = log
    if (!ownership || copy?.ballot !== ballot) return
    if (ownership.undropped?.delete(from)) this.#settle(log, ownership)
  }

  /** Owns a log from now on, with the copy that is here. */
  own(log: Log, ballot: string, holders: Set<string>, followers: Set<string>): void {
    const { copy } = log
    if (!copy) return
    const now = this.#context.environment.now()
    for (const [name, { via, at }] of copy.sources) {
      if (!this.#context.members.isAlive(via) && now - at > PUBLISHER) copy.sources.delete(name)
    }
    log.newest = latest(log.newest, copy.epoch)
    log.ownership = {
      state: 'activating',
      replica: '',
      isInstalled: false,
      replicated: 0,
      holders,
      undropped: null,
      followers,
    }
    this.#context.unsettled.add(log)
    this.#context.know(log, ballot, this.#id)
    this.#install(log, log.ownership)
  }

  #install(log: Log, ownership: Ownership): void {
    const { copy } = log
    if (!copy) return
    ownership.replica = this.#context.members.best(log.name)
    ownership.isInstalled = false
    if (ownership.replica === '') this.#dropOlder(log, ownership)
    else {
      const message = { kind: 'install', log: log.name, copy: copy.snapshot() } as const
      this.#context.send(ownership.replica, message)
    }
  }

  /** Older copies are dropped before anything is committed that they lack. */
  #dropOlder(log: Log, ownership: Ownership): void {
    const { copy } = log
    if (!copy) return
    const { members } = this.#context
    ownership.isInstalled = true
    // The ballot may be another than at the first time: all are asked again.
    const older = [...ownership.holders, ...(ownership.undropped ?? [])].filter(
      (id) => id !== ownership.replica && members.isAlive(id),
    )
    ownership.holders = new Set()
    ownership.undropped = new Set(older)
    const { ballot } = copy
    for (const id of ownership.undropped)
      this.#context.send(id, { kind: 'drop', log: log.name, ballot })
    this.#settle(log, ownership)
  }

  #settle(log: Log, ownership: Ownership): void {
    const { copy } = log
    if (!copy || ownership.undropped?.size !== 0 || !ownership.isInstalled) return
    ownership.undropped = null
    if (ownership.state === 'activating') ownership.state = 'active'
    this.commit(log, ownership)
    const { ballot, epoch } = copy
    this.#context.sendAll({ kind: 'owns', log: log.name, ballot, epoch })
    if (this.#context.members.isLeaving) this.hand(log)
  }

  /** Commits what the replica has, and tells followers and publishers. */
  commit(log: Log, ownership: Ownership): void {
    const { copy } = log
    if (!copy || !isSettled(ownership) || ownership.holders.size > 0) return
    const to = ownership.replica === '' ? copy.last.seq : ownership.replicated
    if (to <= copy.done.seq) return
    const entries = copy.commit(to, this.#context.environment.limits)
    this.#context.grown(log)
    const { ballot, epoch } = copy
    const { replica } = ownership
    const recorded = { kind: 'recorded', log: log.name, epoch, entries: entries.map(bare) } as const
    for (const id of ownership.followers) {
      if (id !== replica) this.#context.send(id, recorded)
      else this.#context.send(id, { kind: 'committed', log: log.name, ballot, seq: to })
    }
    if (log.follows) this.#context.send(this.#id, recorded)
    this.#tellPublishers(log, copy, entries)
  }

  /** Tells each publisher the places of its entries. The entries of a series have consecutive numbers. */
  #tellPublishers(log: Log, { epoch, sources }: Copy, entries: readonly Kept[]): void {
    const runs = new Map<string, { first: Kept; offsets: number[] }>()
    for (const entry of entries) {
      const name = `${entry.series} ${entry.from}`
      const run = runs.get(name)
      if (run) run.offsets.push(entry.offset)
      else runs.set(name, { first: entry, offsets: [entry.offset] })
    }
    for (const { first, offsets } of runs.values()) {
      const { from, via, series, n } = first
      const done = { kind: 'done', log: log.name, epoch, series, n, offsets } as const
      this.#context.send(sources.get(from)?.via ?? via, done)
    }
  }

  get #id(): string {
    return this.#context.environment.id
  }
}

/** Whether no replica is being installed, and no older copy waits to be dropped. */
export function isSettled({ undropped, replica, isInstalled }: Ownership): boolean {
  return !undropped && (replica === '' || isInstalled)
}

/** Returns an entry as followers and readers get it. */
export function bare({ key, count, payload, offset, previous }: Entry): Entry {
  return { key, count, payload, offset, previous }
}

/** The replica has the entries up to a number. A number beyond the last entry counts as the last. */
function raise(ownership: Ownership, { last }: Copy, seq: number): void {
  ownership.replicated = Math.max(ownership.replicated, Math.min(seq, last.seq))
}
