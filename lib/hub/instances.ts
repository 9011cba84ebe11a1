import type { BackplaneHost, BackplaneStatus } from '../backplane/backplane.ts'
import type { Answer, Loss, Order, Question, Target } from '../backplane/order.ts'
import { debugBackplane, messageOf } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import type { Drops } from './drops.ts'
import type { LocalMembers } from './local-members.ts'

/** Presence, as the other instances speak to it. */
export interface PresencePart {
  delivered(from: string, text: string): void
  noted(from: string, text: string): void
  joined(id: string): void
  left(id: string): void
  returned(): void
  lost(room: string): void
  present(question: Question): Answer
}

/** What other instances do to this one, and what it is told of the line to them. */
export class Instances implements BackplaneHost {
  readonly #id: string
  readonly #members: LocalMembers
  readonly #drops: Drops
  readonly #presence: PresencePart | null

  constructor(id: string, members: LocalMembers, drops: Drops, presence: PresencePart | null) {
    this.#id = id
    this.#members = members
    this.#drops = drops
    this.#presence = presence
  }

  deliver(order: Order, from: string): void {
    try {
      if (order.type === 'presence') this.#presence?.delivered(from, order.text)
      else this.#members.deliver(order)
    } catch (error) {
      debugBackplane('what %s asked for failed: %s', from, messageOf(error))
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
    if (target.kind === 'rooms') this.#presence?.lost(target.names[0] as string)
  }

  failed(count: number, why: string): void {
    this.#drops.add('backplane', count)
    this.#tell({ direction: 'out', topic: undefined, from: this.#id, count, why })
  }

  foreign(): void {
    this.#drops.add('foreign')
  }

  noted(from: string, text: string): void {
    this.#presence?.noted(from, text)
  }

  joined(id: string): void {
    this.#presence?.joined(id)
  }

  left(id: string): void {
    this.#presence?.left(id)
  }

  returned(): void {
    this.#presence?.returned()
  }

  changed({ state, queued }: BackplaneStatus, why: string): void {
    if (!channels.backplane.hasSubscribers) return
    const event = { instance: this.#id, state: state as 'ready' | 'degraded', why, queued }
    channels.backplane.publish(event)
  }

  #tell(event: Omit<Parameters<typeof channels.lost.publish>[0], 'instance'>): void {
    if (channels.lost.hasSubscribers) channels.lost.publish({ instance: this.#id, ...event })
  }
}

/** Those who should have got what was published on a topic; null for what instances tell each other. */
function targetOf(topic: string): Target | null {
  const none = { except: [], exceptUsers: [] }
  if (topic === 'all') return { kind: 'all', names: [], ...none }
  const [, kind, name] = /^(room|user):(.+)$/s.exec(topic) ?? []
  if (!name) return null
  return { kind: kind === 'room' ? 'rooms' : 'users', names: [name], ...none }
}
