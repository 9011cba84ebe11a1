// Records the last messages of what a page looks at: a connection, a room or a user.

import type { HandledEvent, MessageEvent, SentEvent } from '../index.ts'
import { listen } from './listening.ts'
import type { Members } from './members.ts'
import { cut, membersOf, oneOf, textOf } from './reading.ts'
import { Latest } from './ring.ts'

const KINDS = ['connection', 'room', 'user'] as const

/** What is looked at. */
export interface Subject {
  readonly kind: (typeof KINDS)[number]
  readonly name: string
}

/** One message. */
export interface Recorded {
  /** In epoch milliseconds. */
  readonly at: number
  readonly direction: 'in' | 'out'
  /** The type of a message of `koaws.v1`; null for others, and for a message that is not handled yet. */
  type: string | null
  readonly size: number
  /** How many connections of the instance it was sent to. */
  readonly receivers: number
  /** How long its handler took, in milliseconds; null without a handler of `messages()`. */
  duration: number | null
  /** The error code of its handler. */
  code: string | null
  /** The beginning of a text message; null without the option `bodies`. */
  readonly body: string | null
}

const MOST_MESSAGES = 50
/** The most subjects at a time, and how long one is recorded after the last look, in milliseconds. */
const MOST_SUBJECTS = 20
const LEASE = 10_000
const LONGEST_BODY = 500
const LONGEST_TYPE = 100

/** Reads a subject. @returns null for a wrong one */
export function readSubject(value: unknown): Subject | null {
  const { kind, name } = membersOf(value)
  const text = textOf(name, 256)
  return text === '' ? null : { kind: oneOf(kind, KINDS), name: text }
}

interface Recorder {
  readonly subject: Subject
  readonly messages: Latest<Recorded>
  until: number
}

/** Records nothing, and listens to nothing, while no page looks. */
export class Recorders {
  readonly #members: Members
  readonly #bodies: boolean
  readonly #recorders = new Map<string, Recorder>()
  #unlisten: (() => void) | null = null
  #timer: NodeJS.Timeout | null = null

  /** @param bodies whether the beginnings of messages are recorded */
  constructor(members: Members, bodies: boolean) {
    this.#members = members
    this.#bodies = bodies
  }

  /** How many subjects are recorded. */
  get size(): number {
    return this.#recorders.size
  }

  /** Returns the messages of a subject since a page looks at it, and records it on. */
  look(subject: Subject): Recorded[] {
    const key = `${subject.kind} ${subject.name}`
    const known = this.#recorders.get(key)
    if (known) known.until = performance.now() + LEASE
    else if (this.#recorders.size < MOST_SUBJECTS) {
      const until = performance.now() + LEASE
      this.#recorders.set(key, { subject, messages: new Latest(MOST_MESSAGES), until })
      this.#start()
    }
    return known?.messages.all ?? []
  }

  stop(): void {
    this.#recorders.clear()
    this.#unlisten?.()
    this.#unlisten = null
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #start(): void {
    if (this.#timer) return
    this.#timer = setInterval(() => this.#expire(), LEASE / 2).unref()
    this.#unlisten = listen({
      message: (event) => this.#received(event),
      handled: (event) => this.#handled(event),
      sent: (event) => this.#sent(event),
    })
  }

  #expire(): void {
    const now = performance.now()
    for (const [key, { until }] of this.#recorders) if (until < now) this.#recorders.delete(key)
    if (this.#recorders.size === 0) this.stop()
  }

  #received({ connection, size, data }: MessageEvent): void {
    for (const recorder of this.#of(connection)) {
      this.#add(recorder, { direction: 'in', type: null, size, receivers: 1, data })
    }
  }

  #handled({ connection, type, size, duration, code }: HandledEvent): void {
    for (const { messages } of this.#of(connection)) {
      const message = messages.all.find(
        (one) => one.direction === 'in' && one.duration === null && one.size === size,
      )
      if (!message) continue
      message.type = cut(type, LONGEST_TYPE)
      message.duration = Math.round(duration * 10) / 10
      message.code = code === undefined ? null : cut(code, LONGEST_TYPE)
    }
  }

  #sent(event: SentEvent): void {
    const { instance, connection, type, size, count, data } = event
    const message = { direction: 'out', type: type ?? null, size, receivers: count, data } as const
    if (connection !== undefined) {
      for (const recorder of this.#of(connection)) this.#add(recorder, message)
    } else if (instance === this.#members.instance) {
      for (const recorder of this.#recorders.values()) {
        if (this.#reaches(event, recorder.subject)) this.#add(recorder, message)
      }
    }
  }

  /** The recorders of a connection, and of its user. Rooms record only what was sent to them. */
  #of(connection: unknown): Recorder[] {
    if (!this.#members.has(connection)) return []
    const { id, userId } = connection
    return [...this.#recorders.values()].filter(
      ({ subject: { kind, name } }) =>
        (kind === 'connection' && name === id) || (kind === 'user' && name === userId),
    )
  }

  #reaches({ audience }: SentEvent, { kind, name }: Subject): boolean {
    if (!audience) return false
    if (kind === 'room') return audience.kind === 'rooms' && audience.names.includes(name)
    if (kind === 'user') return audience.kind === 'users' && audience.names.includes(name)
    const connection = this.#members.find(name)
    if (!connection || audience.except.includes(name)) return false
    const { userId, rooms } = connection
    if (userId !== undefined && audience.exceptUsers.includes(userId)) return false
    switch (audience.kind) {
      case 'all':
        return true
      case 'connections':
        return audience.names.includes(name)
      case 'users':
        return userId !== undefined && audience.names.includes(userId)
      case 'rooms':
        return audience.names.some((room) => rooms.has(room))
    }
  }

  #add(
    { messages }: Recorder,
    {
      data,
      ...message
    }: Pick<Recorded, 'direction' | 'type' | 'size' | 'receivers'> & {
      readonly data: unknown
    },
  ): void {
    messages.add({
      ...message,
      at: Date.now(),
      type: message.type === null ? null : cut(message.type, LONGEST_TYPE),
      duration: null,
      code: null,
      body: this.#bodies ? bodyOf(data) : null,
    })
  }
}

/** Returns the beginning of a message as text. */
function bodyOf(data: unknown): string {
  if (typeof data === 'string') return cut(data, LONGEST_BODY)
  if (!Buffer.isBuffer(data)) return '(binary)'
  const text = data.toString('utf8', 0, 4 * LONGEST_BODY)
  return text.includes('\u0000') ? '(binary)' : cut(text, LONGEST_BODY)
}
