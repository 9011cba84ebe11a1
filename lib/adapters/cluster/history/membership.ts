// How the instances of the history meet, leave and end.

import type { Context } from './context.ts'
import { Exposure } from './exposure.ts'
import type { MemberMessage } from './messages.ts'

/** What follows from a change among the instances. */
export interface MembershipOwner {
  /** All instances know this one. */
  ready(): void
  /** Another instance may own logs from now on, or leaves: logs may need another replica. */
  changed(isNew: boolean): void
}

/**
 * How the instances meet, leave and end. An instance takes part when all others know it: the instances
 * in the folder, and the ones that these know. A claim thereby asks every holder of a copy.
 */
export class Membership {
  readonly #context: Context
  readonly #owner: MembershipOwner
  readonly #exposure = new Exposure()
  /** When it said hello to the others; 0 before. */
  #started = 0
  /** It has told the others that it has handed over everything. */
  #isEmpty = false

  constructor(context: Context, owner: MembershipOwner) {
    this.#context = context
    this.#owner = owner
  }

  /** Whether nothing is left to hand over, or no instance is there that could take it. */
  get isDone(): boolean {
    return this.#isEmpty || this.#context.members.isAlone
  }

  start(ids: Iterable<string>): void {
    this.#started = this.#context.environment.now()
    this.#expect(ids)
    this.#ready()
  }

  receive(from: string, message: MemberMessage): void {
    const { members, logs, environment } = this.#context
    switch (message.kind) {
      case 'hello':
        this.#welcome(from)
        break
      case 'welcome':
        members.peers.add(from)
        if (message.isUp) members.up(from)
        if (message.isLeaving) members.leaving(from)
        this.#exposure.met(from, message.ends)
        logs.forgotten = Math.max(logs.forgotten, message.forgotten)
        members.expected.delete(from)
        if (!members.isUp) this.#expect(message.peers)
        this.#ready()
        break
      case 'up':
        members.up(from)
        this.#owner.changed(true)
        break
      case 'leaving':
        members.leaving(from)
        this.#owner.changed(false)
        break
      case 'empty':
        this.#exposure.empty(from)
        break
      case 'secure':
        this.#exposure.secure(from, message.ends)
        break
      case 'missed':
        environment.missed(`too slow for the entries of ${from}`)
        break
    }
  }

  /** An instance has ended for certain. */
  ended(id: string): void {
    const { members, logs, environment } = this.#context
    // It ended before this instance met it: the logs that it had are unknown.
    const isUnknown = members.expected.has(id)
    members.end(id)
    const hasLeft = this.#exposure.hasLeft(id)
    const isLost = this.#exposure.ended(id, members.peers)
    if (isLost || isUnknown) logs.forgotten = environment.now()
    // Some of its entries may have reached others only.
    if (!hasLeft && members.isUp) environment.missed(`${id} has ended`)
    this.#ready()
  }

  /** Tells the others when no log is on this instance only, and when it has handed over everything. */
  tick(): void {
    const { members, logs } = this.#context
    if (members.isLeaving && !this.#isEmpty && logs.areHandedOver) {
      this.#isEmpty = true
      for (const id of members.peers) this.#context.send(id, { kind: 'empty' })
    }
    if (this.#exposure.isTold || !logs.areSecure) return
    this.#exposure.isTold = true
    const { ends } = this.#exposure
    for (const id of members.peers) this.#context.send(id, { kind: 'secure', ends })
  }

  #welcome(from: string): void {
    const { members, logs } = this.#context
    const { isUp, isLeaving } = members
    const { forgotten, areSecure } = logs
    if (!areSecure) this.#exposure.isTold = false
    const ends = areSecure ? this.#exposure.ends : []
    const peers = [...members.peers]
    members.peers.add(from)
    this.#context.send(from, { kind: 'welcome', isUp, isLeaving, peers, ends, forgotten })
  }

  /** Says hello to the instances that this one does not know. */
  #expect(ids: Iterable<string>): void {
    const { members } = this.#context
    for (const id of ids) {
      const isKnown = members.isAlive(id) || members.expected.has(id) || members.hasEnded(id)
      if (isKnown) continue
      members.expected.add(id)
      this.#context.send(id, { kind: 'hello' })
    }
  }

  #ready(): void {
    const { members, logs } = this.#context
    if (members.isUp || this.#started === 0 || members.expected.size > 0) return
    // Without an instance from before, what was recorded then is unknown. Others that start at the
    // same time are asked after this one has said hello.
    if (members.count === 1) logs.forgotten = Math.max(logs.forgotten, this.#started - 1)
    members.isUp = true
    for (const id of members.peers) this.#context.send(id, { kind: 'up' })
    this.#owner.ready()
  }
}
