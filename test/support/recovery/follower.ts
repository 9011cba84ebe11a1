import type { Connection } from './connection.ts'
import type { Instance } from './instance.ts'
import type { World } from './model.ts'
import {
  type Answer,
  type At,
  beyond,
  isUnborn,
  keyAt,
  messagesOf,
  type Reason,
  type Recorded,
} from './types.ts'

/** A connection in a room. */
interface Member {
  readonly connection: Connection
  /** The position that it presented. */
  readonly since: At | null
  state: 'waiting' | 'catching' | 'replaying' | 'live'
  /** The offset up to which it has its messages, or has them in `replay`. */
  cursor: number
  replay: Recorded[]
  /** The offset in the middle of an entry from which it goes on, or 0. */
  from: number
  tries: number
}

/**
 * Follows one room for the members on one instance. It subscribes, reads the top, and then gives all
 * members the same order. A member catches up from the ring, or by a read that is merged with it.
 */
export class Follower {
  readonly members = new Map<Connection, Member>()
  readonly #world: World
  readonly #instance: Instance
  readonly #room: string
  #isLive = false
  #at: At = { epoch: 0, offset: 0, key: -1 }
  #ring: Recorded[] = []
  /** Entries that came before the top was known. */
  #early: Recorded[] = []
  #isReading = false

  constructor(world: World, instance: Instance, room: string) {
    this.#world = world
    this.#instance = instance
    this.#room = room
    this.#after(world.schedule.delay(), () => {
      instance.subscribed.add(room)
      this.#ask(
        () => world.store.top(room),
        (top) => this.#begin(top),
      )
    })
  }

  enter(connection: Connection, since: At | null): void {
    const member: Member = {
      connection,
      since,
      state: 'waiting',
      cursor: 0,
      replay: [],
      from: 0,
      tries: 0,
    }
    this.members.set(connection, member)
    if (this.#isLive) this.#place(member)
  }

  /** An entry comes from the bus. */
  arrive(entry: Recorded): void {
    if (this.#isLive) this.#take(entry)
    else this.#early.push(entry)
  }

  /** Reads what follows the last entry. */
  fill(): void {
    if (this.#isReading || !this.#isLive) return
    this.#isReading = true
    const { store } = this.#world
    let asked = this.#at
    this.#ask(
      () => {
        asked = this.#at
        return store.read(this.#room, asked)
      },
      (answer) => {
        this.#isReading = false
        // A refusal of a place that was left meanwhile says nothing.
        if ('missing' in answer && asked !== this.#at) this.fill()
        else this.#fillWith(answer)
      },
    )
  }

  #fillWith(answer: Answer): void {
    const { top } = answer
    // The room was lost altogether: without a renewal, its next epoch would look like its first.
    if (isUnborn(top) && !isUnborn(this.#at)) this.#fork()
    else if ('entries' in answer) this.#appendAll(answer.entries, top)
    else if (top.epoch > this.#at.epoch) this.#restart(top, answer.missing)
    else if (top.epoch < this.#at.epoch) return
    else if (answer.missing !== 'trimmed') this.#fork()
    // Otherwise the bus was faster than the answer.
    else if (top.offset > this.#at.offset) this.#restart(top, 'trimmed')
  }

  #appendAll(entries: readonly Recorded[], top: At): void {
    if (isUnborn(this.#at) && !isUnborn(top)) {
      // An answer from before this instance noticed that the room was lost says nothing.
      if (top.epoch < this.#at.epoch) return
      this.#at = { epoch: top.epoch, offset: 0, key: 0 }
    }
    for (const entry of entries) {
      if (!this.#isNext(entry)) continue
      if (!this.#follows(entry)) {
        this.#fork()
        return
      }
      this.#append(entry)
    }
  }

  #begin(top: At): void {
    this.#isLive = true
    this.#at = top
    const early = this.#early
    this.#early = []
    for (const entry of early) this.#take(entry)
    for (const member of this.members.values()) {
      if (member.state === 'waiting') this.#place(member)
    }
  }

  #take(entry: Recorded): void {
    const { epoch, offset, key } = this.#at
    if (entry.epoch < epoch) return
    if (entry.epoch === epoch && entry.offset <= offset) {
      const isOther = entry.offset === offset && entry.key !== key
      if (isOther && this.#world.flaw !== 'no keys') this.#fork()
      return
    }
    if (this.#isNext(entry)) {
      if (this.#follows(entry)) this.#append(entry)
      else this.#fork()
      return
    }
    this.#world.counts.holes++
    if (this.#world.flaw !== 'holes stay') this.fill()
    else this.#append(entry)
  }

  #isNext({ epoch, offset, said }: Recorded): boolean {
    return epoch === this.#at.epoch && offset - said.length === this.#at.offset
  }

  #follows(entry: Recorded): boolean {
    return entry.previous === this.#at.key || this.#world.flaw === 'no keys'
  }

  #append(entry: Recorded): void {
    this.#at = entry
    this.#ring.push(entry)
    const floor = entry.offset - this.#world.most
    while ((this.#ring[0] as Recorded).offset <= floor) this.#ring.shift()
    for (const member of this.members.values()) {
      if (member.state === 'live') this.#give(member, entry)
    }
  }

  /** The store does not have what this instance has seen: the epoch ends, and all members are told. */
  #fork(): void {
    if (this.#world.flaw === 'fork ignored') return
    const seen = this.#at
    const { store } = this.#world
    this.#ask(
      () => {
        store.renew(this.#room, seen)
        return store.top(this.#room)
      },
      (top) => {
        if (top.epoch > this.#at.epoch) this.#restart(top, 'epoch')
        else this.fill()
      },
    )
  }

  #restart(top: At, reason: Reason): void {
    this.#at = top
    this.#ring = []
    for (const member of this.members.values()) {
      // A member that stands in this epoch, or a later one, has not missed it.
      if (member.state === 'catching' && member.since && member.since.epoch >= top.epoch) {
        this.#place(member)
      } else if (member.state !== 'waiting') this.#refuse(member, reason)
    }
  }

  /** Finds out what a member has missed. */
  #place(member: Member): void {
    const { since } = member
    if (!since) {
      member.state = 'live'
      member.connection.tell({ type: 'position', room: this.#room, at: placeOf(this.#at) })
      return
    }
    member.state = 'catching'
    const fromRing = this.#sinceInRing(since)
    const { epoch, offset } = this.#at
    if (fromRing) this.#recover(member, fromRing, this.#at)
    else if (
      this.#world.flaw === 'ahead by own top' &&
      since.epoch === epoch &&
      since.offset > offset
    )
      this.#refuse(member, 'ahead')
    else {
      this.#ask(
        () => this.#world.store.read(this.#room, since),
        (answer) => {
          if (member.state !== 'catching' || !this.#has(member)) return
          if ('entries' in answer) this.#placeWith(member, answer.entries, answer.top)
          else this.#placeWithout(member, answer.missing, answer.top)
        },
      )
    }
  }

  /** Gives a verdict without entries, once the follower is as far as the store. */
  #placeWithout(member: Member, missing: Reason, top: At): void {
    const { epoch, offset } = this.#at
    if (top.epoch < epoch) this.#place(member)
    else if (top.epoch === epoch && top.offset <= offset) this.#refuse(member, missing)
    else if (++member.tries > 20) this.#refuse(member, missing)
    else {
      this.#placeLater(member, 30)
      if (top.epoch > epoch && !isUnborn(this.#at)) this.#restart(top, 'epoch')
      else this.fill()
    }
  }

  /** Gives the missed entries to a member. It is never given more than the follower has. */
  #placeWith(member: Member, entries: readonly Recorded[], top: At): void {
    if (isUnborn(top) && isUnborn(this.#at)) {
      this.#recover(member, [], this.#at)
      return
    }
    if (top.epoch !== this.#at.epoch) {
      member.state = 'waiting'
      if (isUnborn(this.#at)) {
        this.fill()
        this.#placeLater(member, 30)
        return
      }
      if (top.epoch > this.#at.epoch) this.#restart(top, 'epoch')
      this.#place(member)
      return
    }
    for (const entry of entries) if (entry.offset > this.#at.offset) this.#take(entry)
    const key = keyAt(this.#ring, this.#at, top.offset)
    if (this.#at.offset < top.offset) this.#placeLater(member, 60)
    else if (key === undefined || key === top.key || this.#world.flaw === 'no keys') {
      this.#recover(member, entries, top)
    } else {
      this.#fork()
      this.#placeLater(member, 60)
    }
  }

  #placeLater(member: Member, delay: number): void {
    member.state = 'waiting'
    this.#after(delay, () => {
      if (member.state === 'waiting' && this.#has(member)) this.#place(member)
    })
  }

  #refuse(member: Member, reason: Reason): void {
    member.state = 'live'
    member.replay = []
    member.from = 0
    this.#world.refused(this.#room, member.since, reason)
    member.connection.tell({ type: 'refused', room: this.#room, at: placeOf(this.#at), reason })
  }

  /** Gives the whole gap: first the verdict, then the messages in parts, and then the entries that arrived meanwhile. */
  #recover(member: Member, missed: readonly Recorded[], top: At): void {
    this.#world.counts.recovered++
    member.state = this.#world.flaw === 'live early' ? 'live' : 'replaying'
    member.cursor = top.offset
    member.replay = [...missed]
    member.from = member.since?.offset ?? 0
    const at = placeOf(top)
    member.connection.tell({ type: 'recovered', room: this.#room, at, missed: missed.length })
    this.#replay(member)
  }

  #replay(member: Member): void {
    if (!this.#has(member)) return
    if (member.state !== 'replaying' && this.#world.flaw !== 'live early') return
    for (const entry of member.replay.splice(0, this.#world.part)) this.#give(member, entry)
    if (member.replay.length === 0 && member.state === 'replaying') {
      const floor = this.#ringFloor
      if (member.cursor < floor) {
        this.#refuse(member, 'slow')
        return
      }
      member.replay = beyond(this.#ring, member.cursor)
      member.cursor = this.#at.offset
    }
    if (member.replay.length > 0) {
      this.#after(2 + this.#world.schedule.random() * 20, () => this.#replay(member))
    } else member.state = 'live'
  }

  #give(member: Member, entry: Recorded): void {
    const { connection, from } = member
    const { flaw } = this.#world
    const before = entry.offset - entry.said.length
    if (flaw === 'entry skipped' && from > before && from < entry.offset) return
    for (const message of messagesOf(entry)) {
      if (message.offset <= from) continue
      const at = placeOf(message)
      const isExcluded = connection.previous.includes(message.said.except)
      if (!isExcluded) {
        connection.tell({ type: 'push', room: this.#room, at, said: message.said })
      } else if (flaw !== 'no mark') connection.tell({ type: 'at', room: this.#room, at })
    }
  }

  /** Returns what follows a place, if the ring says so. */
  #sinceInRing(since: At): Recorded[] | null {
    const { epoch, offset } = this.#at
    if (since.epoch !== epoch || since.offset > offset || since.offset < this.#ringFloor)
      return null
    if (keyAt(this.#ring, this.#at, since.offset) !== Math.max(since.key, 0)) return null
    return beyond(this.#ring, since.offset)
  }

  /** The offset before the first message of the ring. */
  get #ringFloor(): number {
    const [first] = this.#ring
    return first ? first.offset - first.said.length : this.#at.offset
  }

  #has(member: Member): boolean {
    return this.#isFollowing && this.members.get(member.connection) === member
  }

  get #isFollowing(): boolean {
    return this.#instance.isUp && this.#instance.followers.get(this.#room) === this
  }

  /** Asks the store: the question and the answer take their time. */
  #ask<T>(question: () => T, answer: (value: T) => void): void {
    const { schedule } = this.#world
    schedule.after(schedule.delay(), () => {
      const value = question()
      this.#after(schedule.delay(), () => answer(value))
    })
  }

  /** Runs something later, unless this follower has ended. */
  #after(delay: number, run: () => void): void {
    this.#world.schedule.after(delay, () => {
      if (this.#isFollowing) run()
    })
  }
}

function placeOf({ epoch, offset, key }: At): At {
  return { epoch, offset, key }
}
