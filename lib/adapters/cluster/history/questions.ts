// Questions to the owner of a log, and their answers.

import { isNowhere, isUnborn, nowhere, timeOf } from '../../../history/place.ts'
import type { Place, Reading } from '../../../history/store.ts'
import { REMEMBERED } from '../../../history/store.ts'
import { latest } from './ballot.ts'
import type { Claims } from './claims.ts'
import type { Context } from './context.ts'
import type { Log, Pending, Waiter } from './log.ts'
import type { Answer, Ask, None, Question } from './messages.ts'
import type { Owners } from './owners.ts'
import { bare } from './replication.ts'

/** When a question is asked again without another reason, at first and at most, in milliseconds. */
const AGAIN = 300
const LATEST_AGAIN = 5_000

/** Questions. They are asked until the owner, or a search for it, answers. */
export class Questions {
  readonly #context: Context
  readonly #claims: Claims
  readonly #owners: Owners
  #number = 0

  constructor(context: Context, claims: Claims, owners: Owners) {
    this.#context = context
    this.#claims = claims
    this.#owners = owners
  }

  ask(log: Log, question: Question, waiter: Waiter<Reading>): void {
    const number = ++this.#number
    const pending = { question, sent: 0, again: AGAIN, waiter }
    log.pending.set(number, pending)
    this.#context.unsettled.add(log)
    this.#send(log, number, pending)
  }

  kick(log: Log): void {
    for (const [number, pending] of log.pending) this.#send(log, number, pending)
  }

  tick(log: Log): void {
    const now = this.#context.environment.now()
    for (const [number, pending] of log.pending) {
      if (now - pending.sent < pending.again) continue
      pending.again = Math.min(2 * pending.again, LATEST_AGAIN)
      this.#send(log, number, pending)
    }
  }

  asked(log: Log, from: string, { number, question }: Ask): void {
    const { ownership, copy, hint } = log
    const { members } = this.#context
    if (!ownership) {
      if (hint.id !== '' && hint.id !== members.id && members.isAlive(hint.id)) {
        const { ballot, id } = hint
        this.#context.send(from, { kind: 'redirect', log: log.name, ballot, id })
        return
      }
      if (begins(question)) {
        log.wanted.create = true
        log.wanted.after = latest(log.wanted.after, question.seen.epoch)
      }
      log.wanted.asked.set(`${from} ${number}`, { from, number })
      this.#claims.claim(log)
      return
    }
    if (ownership.state !== 'active' || !copy) return
    if (question.want === 'renew' && copy.lacks(question.seen)) {
      this.#owners.renew(log, question.seen.epoch)
      return
    }
    if (question.want === 'follow' && from !== members.id) ownership.followers.add(from)
    const { limits } = this.#context.environment
    const now = this.#context.environment.now()
    copy.expire(now, limits.ttl)
    const reading = question.want === 'read' ? copy.read(question.since, now) : nothing(copy.top)
    const answer =
      'entries' in reading ? { top: reading.top, entries: reading.entries.map(bare) } : reading
    this.#context.send(from, { kind: 'answer', log: log.name, number, reading: answer })
  }

  answer(log: Log, { number, reading }: Answer): void {
    const pending = log.pending.get(number)
    if (!pending) return
    log.pending.delete(number)
    pending.waiter.settle(reading)
  }

  none(log: Log, message: None): void {
    const pending = log.pending.get(message.number)
    if (!pending || begins(pending.question)) return
    log.pending.delete(message.number)
    log.newest = latest(log.newest, message.newest)
    const { question } = pending
    const top = nowhere(message.at)
    const since = question.want === 'read' ? question.since : null
    pending.waiter.settle(
      since && !isSame(since, message) ? { top, missing: 'epoch' } : nothing(top),
    )
  }

  #send(log: Log, number: number, pending: Pending): void {
    pending.sent = this.#context.environment.now()
    const { question } = pending
    const to = this.#context.target(log)
    this.#context.send(to, { kind: 'ask', log: log.name, number, question })
  }
}

/** Returns whether a log begins because of a question: an instance has seen an entry of it. */
function begins(question: Question): question is Extract<Question, { want: 'renew' }> {
  return question.want === 'renew' && !isUnborn(question.seen.epoch)
}

function nothing(top: Place): Reading {
  return { top, entries: [] }
}

/** Returns whether a place was given while the log did not exist either, and nothing was lost since. */
function isSame(place: Place, { at, newest, forgotten }: None): boolean {
  if (!isNowhere(place)) return false
  const asked = timeOf(place.epoch)
  return asked <= at && at - asked < REMEMBERED && asked > Math.max(timeOf(newest), forgotten)
}
