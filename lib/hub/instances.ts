// Carries out the orders of other instances on this one, and reports the state of the backplane.

import type { Served } from '../backplane/channels.ts'
import type { BackplaneHost, BackplaneStatus } from '../backplane/host.ts'
import type { Answer, Loss, Order, Question, Target } from '../backplane/order.ts'
import { debugBackplane, messageOf } from '../debug.ts'
import { type BackplaneEvent, channels } from '../diagnostics.ts'
import type { StreamRelay } from '../streams/relay.ts'
import { warnOnce } from '../warn.ts'
import type { Drops } from './drops.ts'
import { type InstanceLine, InstanceQuestions } from './instance-questions.ts'
import type { LocalMembers } from './local-members.ts'

/** The presence order that one instance publishes for the others in a room. */
export type PresenceOrder = Extract<Order, { type: 'presence' }>

/** The part of presence that other instances call. */
export interface PresencePart {
  delivered(from: string, order: PresenceOrder): void
  noted(from: string, text: string): void
  joined(id: string): void
  left(id: string): void
  returned(): void
  lost(room: string): void
  present(question: Question): Answer
}

export class Instances implements BackplaneHost {
  readonly #id: string
  readonly #members: LocalMembers
  readonly #drops: Drops
  readonly #presence: PresencePart | null
  /** The questions of the application to other instances. */
  readonly questions: InstanceQuestions
  /** The streams that clients resume on another instance. */
  streams: StreamRelay | null = null

  constructor(
    id: string,
    members: LocalMembers,
    drops: Drops,
    presence: PresencePart | null,
    line: InstanceLine,
  ) {
    this.#id = id
    this.#members = members
    this.#drops = drops
    this.#presence = presence
    this.questions = new InstanceQuestions(id, line)
  }

  deliver(order: Order, from: string, served: Served | null, age: number | null): void {
    try {
      if (order.type === 'presence') this.#presence?.delivered(from, order)
      else this.#members.deliver(order, served, age)
    } catch (error) {
      debugBackplane('an order of the instance %s failed: %s', from, messageOf(error))
      this.foreign()
    }
  }

  answer(question: Question): Answer {
    if (question.type !== 'present') return this.#members.answer(question)
    return this.#presence?.present(question) ?? { count: 0, members: [] }
  }

  lost({ topic, from, count }: Loss): void {
    this.#drops.add('lost', count)
    this.#tell({ direction: 'in', topic, from, count, why: undefined })
    const target = targetOf(topic)
    if (!target) return
    this.#members.resync(target)
    if (target.kind === 'rooms') this.#presence?.lost(target.names[0] ?? '')
  }

  failed(count: number, why: string): void {
    this.#drops.add('backplane', count)
    this.#tell({ direction: 'out', topic: undefined, from: this.#id, count, why })
  }

  foreign(): void {
    this.#drops.add('foreign')
  }

  noted(from: string, text: string): void {
    if (this.questions.noted(from, text) || this.streams?.noted(from, text)) return
    this.#presence?.noted(from, text)
  }

  joined(id: string): void {
    this.#presence?.joined(id)
  }

  left(id: string): void {
    this.questions.left(id)
    this.streams?.left(id)
    this.#presence?.left(id)
  }

  returned(): void {
    this.#presence?.returned()
  }

  changed({ state, queued }: BackplaneStatus, why: string, isFailure: boolean): void {
    if (isFailure) {
      warnOnce(
        'KOAWS_BACKPLANE',
        `The backplane does not work: ${why.replace(/\.$/, '')}. The hub keeps trying. Until it succeeds, messages sent here may not reach other instances. See hub.status().backplane and the diagnostics channel koaws:backplane.`,
        { cause: this.#id, inProduction: true },
      )
    }
    if (!channels.backplane.hasSubscribers) return
    const event = { instance: this.#id, state: state as BackplaneEvent['state'], why, queued }
    channels.backplane.publish(event)
  }

  #tell(event: Omit<Parameters<typeof channels.lost.publish>[0], 'instance'>): void {
    if (channels.lost.hasSubscribers) channels.lost.publish({ instance: this.#id, ...event })
  }
}

/** Returns the audience of a topic; null for topics that only instances use. */
function targetOf(topic: string): Target | null {
  const none = { except: [], exceptUsers: [] }
  if (topic === 'all') return { kind: 'all', names: [], ...none }
  const [, kind, name] = /^(room|user):(.+)$/s.exec(topic) ?? []
  if (!name) return null
  return { kind: kind === 'room' ? 'rooms' : 'users', names: [name], ...none }
}
