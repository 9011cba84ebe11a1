// The parts of the protocol, and which of them gets a message about a log.

import { latest } from './ballot.ts'
import { Claims } from './claims.ts'
import type { Context } from './context.ts'
import type { Log } from './log.ts'
import type { LogMessage, Publish } from './messages.ts'
import { Owners } from './owners.ts'
import { Publishers } from './publishers.ts'
import { Questions } from './questions.ts'
import { Replicas } from './replicas.ts'
import { Replication } from './replication.ts'

/** How long a copy without an owner is left to the claims of others, in milliseconds. */
const PATIENCE = 1_000

/** The parts of the protocol. */
export class Parts {
  readonly owners: Owners
  readonly replication: Replication
  readonly claims: Claims
  readonly publishers: Publishers
  readonly questions: Questions
  readonly #replicas: Replicas
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
    this.replication = new Replication(context)
    this.owners = new Owners(context, this.replication)
    this.claims = new Claims(context, this.owners)
    this.publishers = new Publishers(context)
    this.questions = new Questions(context, this.claims, this.owners)
    this.#replicas = new Replicas(context)
  }

  /** Another instance has ended. */
  ended(log: Log, id: string): void {
    this.claims.ended(log, id)
    this.replication.ended(log, id)
    if (log.boundTo !== id) return
    this.claims.claim(log)
    log.boundTo = ''
    this.#context.unsettled.add(log)
  }

  /** Sends everything again: there is another owner. */
  kick(log: Log): void {
    this.publishers.kick(log)
    this.questions.kick(log)
  }

  /** Does what has waited since the last tick. */
  tick(log: Log): void {
    this.publishers.tick(log)
    this.questions.tick(log)
    const { ownership, copy, boundTo, claim } = log
    if (ownership?.state === 'handing') this.replication.hand(log)
    if (ownership?.state === 'active') this.replication.mend(log)
    const isLeft = copy !== null && !ownership && boundTo === '' && !claim
    if (isLeft && this.#context.environment.now() - log.used >= PATIENCE) this.claims.claim(log)
    const isQuiet = log.out.length === 0 && log.pending.size === 0 && !claim && !isLeft
    if (isQuiet && (!ownership || this.#isSettled(log))) this.#context.unsettled.delete(log)
  }

  receive(log: Log, from: string, message: LogMessage): void {
    switch (message.kind) {
      case 'publish':
        this.#publish(log, from, message)
        break
      case 'done':
        this.publishers.done(log, message)
        break
      case 'reset':
        this.publishers.reset(log, message)
        break
      case 'redirect':
        if (message.ballot <= log.hint.ballot) break
        this.#context.know(log, message.ballot, message.id)
        this.kick(log)
        break
      case 'gather':
        this.claims.gather(log, from, message)
        break
      case 'promised':
        this.claims.promised(log, from, message)
        break
      case 'busy':
        this.claims.busy(log, from, message)
        break
      case 'refused':
        this.claims.refused(log, message)
        break
      case 'take':
        this.claims.claim(log, from)
        break
      case 'install':
        this.#replicas.install(log, from, message)
        break
      case 'installed':
        this.replication.installed(log, from, message)
        break
      case 'stale':
        this.replication.stale(log, from, message)
        break
      case 'replicate':
        this.#replicas.replicate(log, from, message)
        break
      case 'replicated':
        this.replication.replicated(log, from, message)
        break
      case 'drop':
        this.#replicas.drop(log, from, message)
        break
      case 'dropped':
        this.replication.dropped(log, from, message)
        break
      case 'owns':
        this.#context.know(log, message.ballot, from)
        log.newest = latest(log.newest, message.epoch)
        this.kick(log)
        break
      case 'committed':
        this.#replicas.committed(log, from, message)
        break
      case 'recorded':
        if (log.follows) {
          this.#context.environment.recorded(log.name, message.epoch, message.entries)
        } else this.#context.send(from, { kind: 'unfollow', log: log.name })
        break
      case 'unfollow':
        log.ownership?.followers.delete(from)
        break
      case 'ask':
        this.questions.asked(log, from, message)
        break
      case 'answer':
        this.questions.answer(log, message)
        break
      case 'none':
        this.questions.none(log, message)
        break
    }
  }

  #publish(log: Log, from: string, message: Publish): void {
    if (log.ownership) {
      this.owners.publish(log, from, message)
      return
    }
    const { ballot, id } = log.hint
    if (id !== '' && id !== this.#context.members.id && this.#context.members.isAlive(id)) {
      this.#context.send(from, { kind: 'redirect', log: log.name, ballot, id })
      return
    }
    log.wanted.create = true
    this.claims.claim(log)
  }

  #isSettled({ name, ownership, isSecure }: Log): boolean {
    if (ownership?.state !== 'active') return false
    return isSecure || (!ownership.undropped && this.#context.members.best(name) === '')
  }
}
