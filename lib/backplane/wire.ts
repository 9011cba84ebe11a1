import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter, Garbage } from './bytes.ts'
import { isWholeFrame } from './frame-check.ts'
import {
  type Described,
  EVERYBODY,
  type Order,
  type Question,
  type Target,
  topicsOf,
} from './order.ts'

/** The first three bytes of every payload: a mark, and the version of what follows. */
const MARK = 0x4b57
export const VERSION = 1
/** The mark, the version, the kind, and a CRC-32 of everything behind it. */
const HEADER = 8

/** Where a topic stands for one origin: how many were published on it since the epoch began, plus one. */
export interface Position {
  readonly topic: string
  /** A later epoch of one origin is a larger number. */
  readonly epoch: number
  readonly next: number
}

/** Where some orders stand, and how many milliseconds before them the last one was published; null: none. */
export interface Numbered extends Position {
  readonly after: number | null
}

/** A position, and for how many milliseconds nothing has been published. */
export interface Top extends Position {
  readonly age: number
}

/** What one instance tells others. */
export type Message =
  | {
      readonly kind: 'orders'
      /** For each topic the number of the first order. */
      readonly positions: readonly Numbered[]
      readonly orders: readonly Order[]
    }
  /** It lives: the number of the beat, and in how many milliseconds it says so again; 0: it leaves. */
  | { readonly kind: 'beat'; readonly number: number; readonly period: number }
  | { readonly kind: 'question'; readonly id: number; readonly question: Question }
  | {
      readonly kind: 'answer'
      readonly id: number
      readonly count: number
      readonly members: readonly Described[]
      /** More follows. */
      readonly more: boolean
    }
  /** Tell me your tops. */
  | { readonly kind: 'sync' }
  | {
      readonly kind: 'tops'
      readonly tops: readonly Top[]
      /** How long ago a top was given up for want of room; undefined: none was. */
      readonly forgotten: number | undefined
      /** These are the last of all that there are. */
      readonly last: boolean
    }
  /** What presence of one instance tells that of another, in JSON. */
  | { readonly kind: 'note'; readonly text: string }

/** A message, and the instance that it comes from. */
export interface Received {
  readonly origin: string
  readonly message: Message
}

const KINDS = ['orders', 'beat', 'question', 'answer', 'sync', 'tops', 'note'] as const
const ORDERS = ['send', 'join', 'leave', 'close', 'presence'] as const
const QUESTIONS = ['count', 'members', 'present'] as const
const TARGETS = ['all', 'connections', 'users', 'rooms'] as const
const PUSHED = 8
const VOLATILE = 16
const EXCEPT = 32
const EXCEPT_USERS = 64
/** The names are those of connections. */
const NAMED = 128

const writer = new ByteWriter()

/** @throws nothing that a caller could mend: what can be published has been checked before */
export function encode(origin: string, message: Message): Buffer {
  writer.reset()
  for (let i = 0; i < HEADER; i++) writer.byte(0)
  writer.string(origin)
  WRITERS[message.kind](message as never)
  const payload = writer.take()
  const kind = KINDS.indexOf(message.kind)
  payload.writeUInt16BE(MARK, 0)
  payload[2] = VERSION
  payload[3] = kind
  payload.writeUInt32BE(crc32(payload.subarray(HEADER), kind), 4)
  return payload
}

/**
 * Orders are views of the payload, not copies.
 *
 * @throws Garbage for what is not whole, of another version, or not of koaws
 */
export function decode(payload: Buffer): Received {
  if (payload.length <= HEADER || payload.readUInt16BE(0) !== MARK) {
    throw new Garbage('it is not of koaws')
  }
  if (payload[2] !== VERSION) throw new Garbage(`its version is ${payload[2]}, not ${VERSION}`)
  const kind = KINDS[payload[3] as number]
  if (kind === undefined) throw new Garbage('its kind is unknown')
  if (crc32(payload.subarray(HEADER), payload[3] as number) !== payload.readUInt32BE(4)) {
    throw new Garbage('it was changed on its way')
  }
  const reader = new ByteReader(payload, HEADER)
  const origin = reader.string()
  const message = READERS[kind](reader)
  if (!reader.done) throw new Garbage('it goes on after its end')
  return { origin, message }
}

type Of<K extends Message['kind']> = Extract<Message, { kind: K }>

const WRITERS: { [K in Message['kind']]: (message: Of<K>) => void } = {
  orders({ positions, orders }) {
    const { kind } = (orders[0] as Order).target
    writer.byte(kind === 'connections' ? 0 : TARGETS.indexOf(kind))
    writer.integer(positions.length)
    for (const { topic, epoch, next, after } of positions) {
      writer.string(topic === EVERYBODY ? '' : topic.slice(5)) // without room: or user:
      writer.integer(epoch)
      writer.integer(next)
      writer.integer(after === null ? 0 : after + 1)
    }
    writer.integer(orders.length)
    for (const order of orders) writeOrder(order)
  },
  beat({ number, period }) {
    writer.integer(number)
    writer.integer(period)
  },
  question({ id, question }) {
    writer.integer(id)
    writer.byte(QUESTIONS.indexOf(question.type))
    const { kind, names, except, exceptUsers } = question.target
    writer.byte(TARGETS.indexOf(kind))
    writer.strings(names)
    writer.strings(except)
    writer.strings(exceptUsers)
  },
  answer({ id, count, members, more }) {
    writer.integer(id)
    writer.integer(count)
    writer.byte(more ? 1 : 0)
    writer.string(members.length > 0 ? JSON.stringify(members) : '')
  },
  sync() {},
  tops({ tops, forgotten, last }) {
    writer.byte(last ? 1 : 0)
    writer.integer(forgotten === undefined ? 0 : forgotten + 1)
    writer.integer(tops.length)
    for (const { topic, epoch, next, age } of tops) {
      writer.string(topic)
      writer.integer(epoch)
      writer.integer(next)
      writer.integer(age)
    }
  },
  note({ text }) {
    writer.string(text)
  },
}

function writeOrder(order: Order): void {
  const { kind, names, except, exceptUsers } = order.target
  let flags: number = ORDERS.indexOf(order.type)
  if (order.type === 'send') flags |= (order.pushed ? PUSHED : 0) | (order.volatile ? VOLATILE : 0)
  if (except.length > 0) flags |= EXCEPT
  if (exceptUsers.length > 0) flags |= EXCEPT_USERS
  if (kind === 'connections') flags |= NAMED
  writer.byte(flags)
  if (kind === 'connections') writer.strings(names)
  if (except.length > 0) writer.strings(except)
  if (exceptUsers.length > 0) writer.strings(exceptUsers)
  switch (order.type) {
    case 'send':
      writer.buffer(order.frame)
      break
    case 'join':
    case 'leave':
      writer.strings(order.rooms)
      break
    case 'close':
      writer.integer(order.code)
      writer.string(order.reason)
      break
    case 'presence':
      writer.string(order.text)
  }
}

const READERS: { [K in Message['kind']]: (reader: ByteReader) => Of<K> } = {
  orders(reader) {
    const kind = named(TARGETS, reader.byte())
    const names: string[] = []
    const places: Omit<Numbered, 'topic'>[] = []
    for (let count = reader.integer(); count > 0; count--) {
      names.push(reader.string())
      const [epoch, next, after] = [reader.integer(), reader.integer(), reader.integer()]
      places.push({ epoch, next, after: after === 0 ? null : after - 1 })
    }
    const shared: Target = { kind, names: kind === 'all' ? [] : names, except: [], exceptUsers: [] }
    const topics = topicsOf(shared)
    if (places.length !== topics.length || topics.length === 0) throw new Garbage('of no topic')
    const positions = topics.map((topic, i) => ({
      topic,
      ...(places[i] as Omit<Numbered, 'topic'>),
    }))
    const orders: Order[] = []
    for (let count = reader.integer(); count > 0; count--) orders.push(readOrder(reader, shared))
    return { kind: 'orders', positions, orders }
  },
  beat: (reader) => ({ kind: 'beat', number: reader.integer(), period: reader.integer() }),
  question(reader) {
    const id = reader.integer()
    const type = named(QUESTIONS, reader.byte())
    const kind = named(TARGETS, reader.byte())
    const [names, except, exceptUsers] = [reader.strings(), reader.strings(), reader.strings()]
    const target: Target = { kind, names, except, exceptUsers }
    return { kind: 'question', id, question: { type, target } }
  },
  answer(reader) {
    const [id, count, more] = [reader.integer(), reader.integer(), reader.byte() === 1]
    const text = reader.string()
    const list = text === '' ? [] : parse(text)
    if (!Array.isArray(list)) throw new Garbage('members are no list')
    return { kind: 'answer', id, count, members: list.map(readMember), more }
  },
  sync: () => ({ kind: 'sync' }),
  tops(reader) {
    const last = reader.byte() === 1
    const forgotten = reader.integer()
    const tops: Top[] = []
    for (let count = reader.integer(); count > 0; count--) {
      const [topic, epoch, next] = [reader.string(), reader.integer(), reader.integer()]
      tops.push({ topic, epoch, next, age: reader.integer() })
    }
    return { kind: 'tops', tops, forgotten: forgotten === 0 ? undefined : forgotten - 1, last }
  },
  note: (reader) => ({ kind: 'note', text: reader.string() }),
}

function readOrder(reader: ByteReader, shared: Target): Order {
  const flags = reader.byte()
  const type = named(ORDERS, flags & 7)
  let target = shared
  if ((flags & (EXCEPT | EXCEPT_USERS | NAMED)) !== 0) {
    if ((flags & NAMED) !== 0) target = { ...target, kind: 'connections', names: reader.strings() }
    if ((flags & EXCEPT) !== 0) target = { ...target, except: reader.strings() }
    if ((flags & EXCEPT_USERS) !== 0) target = { ...target, exceptUsers: reader.strings() }
  }
  switch (type) {
    case 'send': {
      const frame = reader.buffer()
      if (!isWholeFrame(frame)) throw new Garbage('it holds no frame')
      const [pushed, volatile] = [(flags & PUSHED) !== 0, (flags & VOLATILE) !== 0]
      return { type, target, frame, pushed, volatile }
    }
    case 'join':
    case 'leave':
      return { type, target, rooms: reader.strings() }
    case 'close':
      return { type, target, code: reader.integer(), reason: reader.string() }
    case 'presence':
      return { type, target, text: reader.string() }
  }
}

function readMember(value: unknown): Described {
  const { id, userId, info } = (value ?? {}) as Partial<Described>
  if (typeof id !== 'string') throw new Garbage('a member has no id')
  return { id, userId: typeof userId === 'string' ? userId : undefined, info }
}

function named<T>(names: readonly T[], index: number): T {
  const name = names[index]
  if (name === undefined) throw new Garbage('something in it is unknown')
  return name
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Garbage('its JSON is none')
  }
}
