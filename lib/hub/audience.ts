import type { Backplane } from '../backplane/backplane.ts'
import type { Answers, Order, Question, Target } from '../backplane/order.ts'
import type { Publication } from '../backplane/turn-groups.ts'
import type { Audience, Delivery, Members } from '../connection/audience.ts'
import type { Frame } from '../connection/frame.ts'
import type { Sendable } from '../connection/types.ts'
import { assertClosable } from '../protocol/close-codes.ts'
import { pushText } from '../protocol/envelope.ts'
import { assertName, namesOf } from '../validate.ts'
import type { LocalDelivery, LocalMembers } from './local-members.ts'

/** How long other instances have to answer a question, in milliseconds. */
const PATIENCE = 2_000

/** What an audience acts on: the members of this instance, and the line to the others. */
export interface AudienceHost {
  readonly members: LocalMembers
  /** Null when there are no other instances. */
  readonly backplane: Backplane | null
}

/** Makes the audiences of one hub. */
export class Audiences {
  readonly #host: AudienceHost

  constructor(host: AudienceHost) {
    this.#host = host
  }

  all(): Audience {
    return this.#of('all', [])
  }

  connection(id: string): Audience {
    assertName('connection', id)
    return this.#of('connections', [id])
  }

  user(ids: readonly (string | number)[]): Audience {
    return this.#of('users', namesOf('user', ids))
  }

  room(names: readonly string[], except: readonly string[] = []): Audience {
    for (const name of names) assertName('room', name)
    return this.#of('rooms', namesOf('room', names), except)
  }

  #of(kind: Target['kind'], names: readonly string[], except: readonly string[] = []): Audience {
    return new HubAudience(this.#host, { kind, names, except, exceptUsers: [] }, false, false)
  }
}

/** An `Audience` of one hub. */
class HubAudience implements Audience {
  readonly #host: AudienceHost
  readonly #target: Target
  readonly #local: boolean
  readonly #volatile: boolean

  constructor(host: AudienceHost, target: Target, local: boolean, volatile: boolean) {
    this.#host = host
    this.#target = target
    this.#local = local
    this.#volatile = volatile
  }

  send(data: Sendable): Delivery {
    return this.#send(this.#host.members.frame(data), false)
  }

  json(value: unknown): Delivery {
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) {
      throw new TypeError(`json() needs a value with a JSON form, not ${typeof value}.`)
    }
    return this.send(text)
  }

  push(type: string, data?: unknown): Delivery {
    return this.#send(this.#host.members.frame(pushText(type, data)), true)
  }

  except(...connections: (string | { readonly id: string })[]): Audience {
    const ids = connections.map((one) => (typeof one === 'string' ? one : one?.id))
    for (const id of ids) assertName('connection', id)
    const except = [...new Set([...this.#target.except, ...ids])]
    return this.#with({ ...this.#target, except })
  }

  exceptUser(...ids: (string | number)[]): Audience {
    const exceptUsers = namesOf('user', [...this.#target.exceptUsers, ...ids])
    return this.#with({ ...this.#target, exceptUsers })
  }

  local(): Audience {
    return new HubAudience(this.#host, this.#target, true, this.#volatile)
  }

  volatile(): Audience {
    return new HubAudience(this.#host, this.#target, this.#local, true)
  }

  join(...rooms: string[]): Promise<void> {
    for (const name of rooms) assertName('room', name)
    const joined = this.#host.members.join(this.#target, rooms)
    return settled(joined, this.#publish({ type: 'join', target: this.#target, rooms })?.result)
  }

  leave(...rooms: string[]): Promise<void> {
    for (const name of rooms) assertName('room', name)
    this.#host.members.leave(this.#target, rooms)
    return settled(this.#publish({ type: 'leave', target: this.#target, rooms })?.result)
  }

  close(code = 1000, reason = ''): Promise<void> {
    assertClosable(code, reason)
    this.#host.members.close(this.#target, code, reason)
    return settled(this.#publish({ type: 'close', target: this.#target, code, reason })?.result)
  }

  async count(): Promise<number> {
    const question: Question = { type: 'count', target: this.#target }
    const local = this.#host.members.answer(question)
    const others = await this.#ask(question)
    return others.answers.reduce((sum, { count }) => sum + count, local.count)
  }

  async members(): Promise<Members> {
    const question: Question = { type: 'members', target: this.#target }
    const local = this.#host.members.answer(question)
    const { answers, missing } = await this.#ask(question)
    const members = [local, ...answers].flatMap((answer) => answer.members)
    return Object.assign(members, { missing })
  }

  #with(target: Target): Audience {
    return new HubAudience(this.#host, target, this.#local, this.#volatile)
  }

  #send(frame: Frame, pushed: boolean): Delivery {
    const sending = { target: this.#target, pushed, volatile: this.#volatile }
    const delivery = this.#host.members.send(frame, sending)
    return new Sent(delivery, this.#publish({ type: 'send', frame: frame.plain, ...sending }))
  }

  #publish(order: Order): Publication | null {
    const { backplane, members } = this.#host
    if (this.#local || !backplane || members.holdsAll(this.#target)) return null
    return backplane.publish(order)
  }

  async #ask(question: Question): Promise<Answers> {
    const { backplane } = this.#host
    if (this.#local || !backplane) return { answers: [], missing: [] }
    return backplane.ask(question, PATIENCE)
  }
}

/** A `Delivery`; its promise is made when somebody looks at it. */
class Sent implements Delivery {
  readonly local: number
  readonly dropped: number
  readonly skipped: number
  readonly #published: Publication | null

  constructor({ local, dropped, skipped }: LocalDelivery, published: Publication | null) {
    this.local = local
    this.dropped = dropped
    this.skipped = skipped
    this.#published = published
  }

  get backplane(): Delivery['backplane'] {
    return this.#published?.result ?? Promise.resolve('none')
  }
}

async function settled(...waits: (Promise<unknown> | undefined)[]): Promise<void> {
  await Promise.all(waits)
}
