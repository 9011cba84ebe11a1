// The protocol of the history between the instances of one machine: messages in, messages out.

import type { NewEntry, Place, Reading } from '../../../history/store.ts'
import type { Context, Environment } from './context.ts'
import type { Log, Waiter } from './log.ts'
import { Logs } from './logs.ts'
import { Members } from './members.ts'
import { Membership } from './membership.ts'
import type { Message, Question, Replicated } from './messages.ts'
import { Parts } from './parts.ts'

/** The interval of the search for idle and expired logs, in milliseconds. */
const SWEEP = 10_000
/** The most logs that are handed over at a tick, so that publishers wait for few of them. */
const MOST_HANDED = 256

/**
 * The part of one instance in the history of all logs. A log has an owner, and a replica on a second
 * instance. The caller passes what other instances say, which instances have ended for certain, and the
 * time; a simulation can therefore run the same code as real processes.
 */
export class Core implements Context {
  readonly environment: Environment
  readonly members: Members
  readonly logs: Logs
  readonly unsettled: Set<Log> = new Set()
  readonly #parts: Parts
  readonly #membership: Membership
  /** Messages of this instance to itself. */
  readonly #own: Message[] = []
  /** What the owners of logs are told when all present messages are handled. */
  readonly #acknowledgments = new Map<string, { to: string; message: Replicated }>()
  #isHandling = false
  #swept = 0
  /** An instance has come: logs may belong to it. */
  #isMoved = false

  constructor(environment: Environment) {
    this.environment = environment
    this.members = new Members(environment.id)
    this.logs = new Logs(environment.limits, environment.remembered)
    this.#parts = new Parts(this)
    this.#membership = new Membership(this, {
      ready: () => this.#ready(),
      changed: (isNew) => this.#changed(isNew),
    })
  }

  /** The size of the entries that wait to be recorded, in bytes. */
  get waiting(): number {
    return this.#parts.publishers.bytes
  }

  /** Whether nothing is left to hand over. */
  get isDone(): boolean {
    return this.#membership.isDone
  }

  /** The number of logs with a copy here. */
  get copies(): number {
    return this.logs.all().filter(({ copy }) => copy !== null).length
  }

  /** The part of this instance in a log; `owner` when it takes entries. */
  roleOf(name: string): 'owner' | 'replica' | 'none' {
    const log = this.logs.find(name)
    if (log?.ownership?.state === 'active') return 'owner'
    return log?.copy && log.boundTo !== '' ? 'replica' : 'none'
  }

  /** Begins. @param others the instances in the folder, read after this one could be found there */
  start(others: Iterable<string>): void {
    this.#act(() => this.#membership.start(others))
  }

  /** Whether an entry is recorded, or waits already. */
  isKnown(name: string, key: string): boolean {
    const log = this.logs.find(name)
    return log !== undefined && this.#parts.publishers.isKnown(log, key)
  }

  append(name: string, entry: NewEntry, waiter: Waiter<Place>): void {
    this.#act(() => this.#parts.publishers.append(this.#log(name), entry, waiter))
  }

  ask(name: string, question: Question, waiter: Waiter<Reading>): void {
    const log = this.#log(name)
    if (question.want === 'follow') log.follows = true
    this.#act(() => this.#parts.questions.ask(log, question, waiter))
  }

  unfollow(name: string): void {
    const log = this.logs.find(name)
    if (!log?.follows) return
    log.follows = false
    const { id } = log.hint
    if (id !== '' && id !== this.members.id) this.send(id, { kind: 'unfollow', log: name })
  }

  /** @param messages what arrived together */
  receive(from: string, messages: readonly Message[]): void {
    this.#act(() => {
      for (const message of messages) {
        if (this.members.hasEnded(from)) return
        this.#receive(from, message)
        this.#receiveOwn()
      }
    })
  }

  /** An instance has ended for certain. */
  ended(id: string): void {
    if (id === this.members.id || this.members.hasEnded(id)) return
    this.#act(() => {
      this.#membership.ended(id)
      for (const log of this.logs.all()) this.#parts.ended(log, id)
    })
  }

  /** Hands over all logs. */
  leave(): void {
    if (this.members.isLeaving) return
    this.members.isLeaving = true
    this.#act(() => {
      for (const id of this.members.peers) this.send(id, { kind: 'leaving' })
      for (const log of this.logs.all()) if (log.ownership) this.#parts.replication.hand(log)
    })
  }

  /** Called several times in a second. */
  tick(): void {
    this.#act(() => {
      this.#membership.tick()
      this.#parts.publishers.forget()
      if (!this.members.isUp) return
      for (const log of [...this.unsettled]) this.#parts.tick(log)
      if (this.#isMoved) this.#move()
      const now = this.environment.now()
      if (now - this.#swept < SWEEP && !this.logs.isCrowded) return
      this.#swept = now
      for (const log of this.logs.sweep(now)) this.#parts.owners.forget(log)
    })
  }

  /** Takes over what a former core of this instance publishes, asks and follows. */
  adopt(former: Core): void {
    this.logs.series = former.logs.series
    this.#parts.publishers.bytes = former.#parts.publishers.bytes
    for (const old of former.logs.all()) {
      const log = this.logs.adopt(old)
      log.follows = old.follows
      for (const one of old.out) {
        log.out.push(one)
        log.outKeys.set(one.entry.key, one)
      }
      this.unsettled.add(log)
      const pending = [...old.pending.values()]
      for (const { question, waiter } of pending) this.ask(log.name, question, waiter)
      if (old.follows) this.ask(log.name, { want: 'follow' }, { settle: ignore, fail: ignore })
    }
  }

  /** Fails everything that waits. */
  fail(error: Error): void {
    for (const { out, outKeys, pending } of this.logs.all()) {
      outKeys.clear()
      const waiters = out.splice(0).flatMap((one) => one.waiters)
      const asked = [...pending.values()].map(({ waiter }) => waiter)
      pending.clear()
      for (const { fail } of [...waiters, ...asked]) fail(error)
    }
  }

  // ---- Context

  send(to: string, message: Message): void {
    if (to === this.members.id) this.#own.push(message)
    else if (!this.members.hasEnded(to)) this.environment.send(to, message)
  }

  acknowledge(to: string, message: Replicated): void {
    this.#acknowledgments.set(message.log, { to, message })
  }

  sendAll(message: Message): void {
    for (const id of this.members.peers) this.send(id, message)
    this.#own.push(message)
  }

  target({ name, hint }: Log): string {
    return hint.id !== '' && this.members.isAlive(hint.id) ? hint.id : this.members.first(name)
  }

  know(log: Log, ballot: string, id: string): void {
    if (ballot > log.hint.ballot) log.hint = { ballot, id }
  }

  grown(log: Log): void {
    // Each log is on two instances.
    const { count } = this.members
    const most = (this.environment.limits.maxTotal * Math.min(2, count)) / count
    for (const empty of this.logs.grown(log, most)) this.#parts.owners.forget(empty)
  }

  // ---- the rest

  /** Does something, and then handles what this instance has sent to itself. */
  #act(act: () => void): void {
    if (this.#isHandling) {
      act()
      return
    }
    this.#isHandling = true
    try {
      act()
      this.#receiveOwn()
      for (const { to, message } of this.#acknowledgments.values()) this.send(to, message)
      this.#acknowledgments.clear()
    } finally {
      this.#isHandling = false
    }
  }

  #receiveOwn(): void {
    for (let next = this.#own.shift(); next; next = this.#own.shift()) {
      this.#receive(this.members.id, next)
    }
  }

  #log(name: string): Log {
    return this.logs.get(name, this.environment.now())
  }

  #receive(from: string, message: Message): void {
    if (!('log' in message)) this.#membership.receive(from, message)
    // An announcement of a log that is not used here.
    else if (message.kind !== 'owns' || this.logs.find(message.log)) {
      this.#parts.receive(this.#log(message.log), from, message)
    }
  }

  #ready(): void {
    for (const log of this.unsettled) this.#parts.kick(log)
    this.environment.up()
  }

  #changed(isNew: boolean): void {
    if (isNew) this.#isMoved = true
    for (const log of this.logs.all()) {
      if (log.ownership?.state === 'active') this.#parts.replication.mend(log)
    }
  }

  /** Hands logs to an instance that comes before this one in their order. */
  #move(): void {
    this.#isMoved = false
    let handed = 0
    for (const log of this.logs.all()) {
      if (log.ownership?.state !== 'active') continue
      if (this.members.first(log.name) === this.members.id) continue
      if (++handed > MOST_HANDED) {
        this.#isMoved = true
        return
      }
      this.#parts.replication.hand(log)
    }
  }
}

function ignore(): void {}
