// Makes the audiences of one hub, which act on this instance and on the other instances.

import type { Backplane } from '../backplane/backplane.ts'
import {
  type Answers,
  type Change,
  type Order,
  type Question,
  type Target,
  topicOf,
} from '../backplane/order.ts'
import type { Publication } from '../backplane/turn-groups.ts'
import type {
  Audience,
  Delivery,
  HistoryQuery,
  Members,
  RecordResult,
  RoomHistory,
} from '../connection/audience.ts'
import { type Frame, jsonText } from '../connection/frame.ts'
import type { Sendable } from '../connection/types.ts'
import type { History } from '../history/history.ts'
import { noHistory } from '../history/reading.ts'
import type { Recording } from '../history/recorder.ts'
import { assertClosable } from '../protocol/close-codes.ts'
import { pushText } from '../protocol/envelope.ts'
import type { Streams } from '../streams/streams.ts'
import type { Tracer } from '../tracer.ts'
import { assertName, namesOf } from '../validate.ts'
import type { LocalDelivery, LocalMembers } from './local-members.ts'
import type { Retries } from './open-parts.ts'

/** How long other instances have to answer a question, in milliseconds. */
const PATIENCE = 2_000
const NO_NAMES: readonly string[] = []

export class Audiences {
  readonly members: LocalMembers
  /** Null when there are no other instances. */
  readonly backplane: Backplane | null

  /** Null when nothing is recorded. */
  readonly history: History | null

  /** The answers to requests that may be sent again. */
  readonly retries: Retries

  /** The requests with streams. */
  readonly streams: Streams

  /** What follows messages; null for nothing. */
  tracer: Tracer | null = null

  constructor(
    members: LocalMembers,
    backplane: Backplane | null,
    history: History | null,
    retries: Retries,
    streams: Streams,
  ) {
    this.members = members
    this.backplane = backplane
    this.history = history
    this.retries = retries
    this.streams = streams
  }

  /** The history. @throws KoaWsError when nothing is recorded */
  get recorded(): History {
    if (!this.history) throw noHistory()
    return this.history
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
    return new HubAudience(this, { kind, names, except, exceptUsers: [] }, false, false)
  }
}

class HubAudience implements Audience {
  readonly #audiences: Audiences
  readonly #target: Target
  readonly #local: boolean
  readonly #volatile: boolean

  constructor(audiences: Audiences, target: Target, local: boolean, volatile: boolean) {
    this.#audiences = audiences
    this.#target = target
    this.#local = local
    this.#volatile = volatile
  }

  send(data: Sendable): Delivery {
    return this.#send(this.#audiences.members.frame(data), false)
  }

  json(value: unknown): Delivery {
    return this.send(jsonText(value))
  }

  push(type: string, data?: unknown): Delivery {
    const { members, tracer } = this.#audiences
    return this.#send(members.frame(pushText(type, data, tracer)), true)
  }

  except(...connections: (string | { readonly id: string })[]): Audience {
    const ids = connections.map(idOf)
    const except = [...new Set([...this.#target.except, ...ids])]
    return this.#with({ ...this.#target, except })
  }

  exceptUser(...ids: (string | number)[]): Audience {
    const exceptUsers = namesOf('user', [...this.#target.exceptUsers, ...ids])
    return this.#with({ ...this.#target, exceptUsers })
  }

  local(): Audience {
    return new HubAudience(this.#audiences, this.#target, true, this.#volatile)
  }

  volatile(): Audience {
    return new HubAudience(this.#audiences, this.#target, this.#local, true)
  }

  join(...rooms: string[]): Promise<void> {
    for (const name of rooms) assertName('room', name)
    return this.#inOrder(() => {
      const joined = this.#audiences.members.join(this.#target, rooms)
      return settled(joined, this.#publish({ type: 'join', target: this.#target, rooms })?.result)
    })
  }

  leave(...rooms: string[]): Promise<void> {
    for (const name of rooms) assertName('room', name)
    return this.#change({ type: 'leave', target: this.#target, rooms })
  }

  close(code = 1000, reason = ''): Promise<void> {
    assertClosable(code, reason)
    return this.#change({ type: 'close', target: this.#target, code, reason })
  }

  async count(): Promise<number> {
    const question: Question = { type: 'count', target: this.#target }
    const local = this.#audiences.members.answer(question)
    const others = await this.#ask(question)
    return others.answers.reduce((sum, { count }) => sum + count, local.count)
  }

  async members(): Promise<Members> {
    const question: Question = { type: 'members', target: this.#target }
    const local = this.#audiences.members.answer(question)
    const { answers, missing } = await this.#ask(question)
    const members = [local, ...answers].flatMap((answer) => answer.members)
    return Object.assign(members, { missing })
  }

  async position(): Promise<string> {
    const { history, log } = this.#recordedLog('position()')
    return history.reader.position(log)
  }

  async history(query?: HistoryQuery): Promise<RoomHistory> {
    const { history, log } = this.#recordedLog('history()')
    return history.reader.read(log, query)
  }

  /** @throws TypeError for another audience than one room or user, KoaWsError when nothing is recorded */
  #recordedLog(method: string): { history: History; log: string } {
    const { kind, names } = this.#target
    const [name, another] = names
    if ((kind !== 'rooms' && kind !== 'users') || name === undefined || another !== undefined) {
      throw new TypeError(`${method} needs the audience of one room or of one user.`)
    }
    return { history: this.#audiences.recorded, log: topicOf(kind, name) }
  }

  /** Carries out a leave or a close, at its place among the messages of rooms and users with a history. */
  #change(change: Change): Promise<void> {
    const { history, backplane, members } = this.#audiences
    const act = (order: Change): Promise<void> => {
      members.change(order)
      return settled(this.#publish(order)?.result)
    }
    const recorded = this.#local ? null : history?.changes.record(change, backplane === null)
    if (!recorded) return this.#inOrder(() => act(change))
    return recorded instanceof Promise ? recorded.then(act) : act(recorded)
  }

  /** Acts after what was sent before: at once, unless that is on its way to a history outside of this process. */
  #inOrder(act: () => Promise<void>): Promise<void> {
    const sent = this.#audiences.history?.changes.sentBefore(this.#target) ?? null
    return sent === null ? act() : sent.then(act)
  }

  #with(target: Target): Audience {
    return new HubAudience(this.#audiences, target, this.#local, this.#volatile)
  }

  #send(frame: Frame, pushed: boolean): Delivery {
    const { history } = this.#audiences
    const isRecorded = history !== null && !this.#local && !this.#volatile
    const recorded = isRecorded ? history.recordedNames(this.#target) : NO_NAMES
    if (!isRecorded || recorded.length === 0) return this.#sendUnrecorded(frame, pushed, NO_NAMES)
    const { kind, names, except, exceptUsers } = this.#target
    const message = { frame: frame.plain, pushed, except, exceptUsers, isChange: false }
    const delivery = history.record(kind === 'users' ? 'users' : 'rooms', recorded, message)
    const { publication } = delivery.recording
    if (recorded.length === names.length) return new Sent(delivery, publication, delivery.recording)
    const rest = this.#sendUnrecorded(frame, pushed, recorded)
    return new Sent(sum(delivery, rest), publication, delivery.recording)
  }

  /** @param recorded rooms of this audience that deliver the message by their history */
  #sendUnrecorded(frame: Frame, pushed: boolean, recorded: readonly string[]): Sent {
    const { names } = this.#target
    const target =
      recorded.length === 0
        ? this.#target
        : {
            ...this.#target,
            names: names.filter((name) => !recorded.includes(name)),
            exceptRooms: recorded,
          }
    const sending = { target, pushed, volatile: this.#volatile }
    const delivery = this.#audiences.members.send(frame, sending)
    return new Sent(delivery, this.#publish({ type: 'send', frame: frame.plain, ...sending }), null)
  }

  #publish(order: Order): Publication | null {
    const { backplane, members } = this.#audiences
    if (this.#local || !backplane || members.holdsAll(this.#target)) return null
    return backplane.publish(order)
  }

  async #ask(question: Question): Promise<Answers> {
    const { backplane } = this.#audiences
    if (this.#local || !backplane) return { answers: [], missing: [] }
    return backplane.ask(question, PATIENCE)
  }
}

/** Returns the id of a connection, given as an object or id. @throws TypeError for others */
function idOf(one: string | { readonly id: string }): string {
  const id: unknown = typeof one === 'object' ? (one?.id ?? one) : one
  assertName('connection', id)
  return id
}

/** A `Delivery`. Its promise is made on first access, so that unused promises cost nothing. */
class Sent implements Delivery {
  readonly local: number
  readonly dropped: number
  readonly skipped: number
  readonly #published: Publication | null
  readonly #recording: Recording | null

  constructor(
    { local, dropped, skipped }: LocalDelivery,
    published: Publication | null,
    recording: Recording | null,
  ) {
    this.local = local
    this.dropped = dropped
    this.skipped = skipped
    this.#published = published
    this.#recording = recording
  }

  get backplane(): Delivery['backplane'] {
    return this.#published?.result ?? Promise.resolve('none')
  }

  get recorded(): Promise<RecordResult> {
    return this.#recording?.recorded ?? Promise.resolve('none')
  }
}

function sum(one: LocalDelivery, other: LocalDelivery): LocalDelivery {
  return {
    local: one.local + other.local,
    dropped: one.dropped + other.dropped,
    skipped: one.skipped + other.skipped,
  }
}

async function settled(...waits: (Promise<unknown> | undefined)[]): Promise<void> {
  await Promise.all(waits)
}
