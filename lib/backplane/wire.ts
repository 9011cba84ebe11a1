// Encodes messages between instances as payloads, and decodes them.
import { crc32 } from 'node:zlib'
import { fieldsOf } from '../fields.ts'
import { ByteReader, ByteWriter, Garbage, parseJson } from './bytes.ts'
import { isWholeFrame } from './frame-check.ts'
import {
  type Change,
  type Described,
  EVERYBODY,
  type Order,
  type Question,
  type Target,
  topicsOf,
} from './order.ts'

/** The first two bytes of every payload; the third is the version of the format. */
const MARK = 0x4b57
export const VERSION = 2
/** The size of the mark, the version, the kind, and a CRC-32 of the rest, in bytes. */
const HEADER = 8

/**
 * The position of a topic at one origin: the number of the next order since the epoch began, from
 * 1.
 */
export interface Position {
  readonly topic: string
  /** Later epochs of one origin have larger numbers. */
  readonly epoch: number
  readonly next: number
}

/**
 * The position of orders, and the time since the previous publish in milliseconds; null for the
 * first.
 */
export interface Numbered extends Position {
  readonly after: number | null
}

/** A position, and the time since the last publish in milliseconds. */
export interface Top extends Position {
  readonly age: number
}

/** A message from one instance to others. */
export type Message =
  | {
      readonly kind: 'orders'
      /** The number of the first order on each topic. */
      readonly positions: readonly Numbered[]
      readonly orders: readonly Order[]
      /**
       * How long the orders waited at their instance, in milliseconds; undefined when they left at
       * once.
       */
      readonly age?: number
    }
  /** A beat: its number, and the time until the next beat in milliseconds; 0 is a goodbye. */
  | { readonly kind: 'beat'; readonly number: number; readonly period: number }
  | { readonly kind: 'question'; readonly id: number; readonly question: Question }
  | {
      readonly kind: 'answer'
      readonly id: number
      readonly count: number
      readonly members: readonly Described[]
      /** Whether more parts of the answer follow. */
      readonly more: boolean
    }
  | { readonly kind: 'tops'; readonly tops: readonly Top[] }
  /** A note in JSON, of presence or of the backplane. */
  | { readonly kind: 'note'; readonly text: string }

/** Publishes what instances say of themselves. Resolves to whether the engine took it. Never rejects. */
export type Tell = (topic: string, message: Message) => Promise<boolean>

/** A message and its origin. */
export interface Received {
  readonly origin: string
  readonly message: Message
}

const KINDS = ['orders', 'beat', 'question', 'answer', 'tops', 'note'] as const
/** `partial` leaves out the members of some rooms. A history has a `recorded` leave or close, too. */
const ORDERS = ['send', 'join', 'leave', 'close', 'presence', 'partial', 'recorded'] as const
const QUESTIONS = ['count', 'members', 'present'] as const
const TARGETS = ['all', 'connections', 'users', 'rooms'] as const
const PUSHED = 8
const VOLATILE = 16
const EXCEPT = 32
const EXCEPT_USERS = 64
/** The order carries its own target: it travels on the topic of all instances. */
const NAMED = 128

/**
 * Orders that waited are marked in the last number of their positions: it combines the age and the
 * time since the previous order.
 */
const WAITED: number = 2 ** 52
const AFTERS: number = 2 ** 20
const LONGEST_AGE: number = 2 ** 31 - 1

const writer = new ByteWriter()

/** Encodes a message. The caller has checked all values, so that encoding does not fail. */
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
 * Decodes a payload. The frames of orders are views of the payload, not copies.
 *
 * @throws Garbage for a payload that is incomplete, of another version, or foreign
 */
export function decode(payload: Buffer): Received {
  if (payload.length <= HEADER || payload.readUInt16BE(0) !== MARK) {
    throw new Garbage('it is not a message of koaws')
  }
  if (payload[2] !== VERSION) throw new Garbage(`its version is ${payload[2]}, not ${VERSION}`)
  const kind = KINDS[payload.readUInt8(3)]
  if (kind === undefined) throw new Garbage('its kind is unknown')
  if (crc32(payload.subarray(HEADER), payload.readUInt8(3)) !== payload.readUInt32BE(4)) {
    throw new Garbage('its checksum is wrong')
  }
  const reader = new ByteReader(payload, HEADER)
  const origin = reader.string()
  const message = READERS[kind](reader)
  if (!reader.done) throw new Garbage('it has surplus bytes')
  return { origin, message }
}

/** Returns orders with the time that they waited. @param age in milliseconds */
export function aged(payload: Buffer, age: number): Buffer {
  const { origin, message } = decode(payload)
  return message.kind === 'orders' ? encode(origin, { ...message, age: Math.floor(age) }) : payload
}

type Of<K extends Message['kind']> = Extract<Message, { kind: K }>

const WRITERS: { [K in Message['kind']]: (message: Of<K>) => void } = {
  orders({ positions, orders, age }) {
    const waited = age === undefined ? 0 : WAITED + Math.min(age, LONGEST_AGE) * AFTERS
    const isForAll = positions[0]?.topic === EVERYBODY
    writer.byte(isForAll ? 0 : TARGETS.indexOf((orders[0] as Order).target.kind))
    writer.integer(positions.length)
    for (const { topic, epoch, next, after } of positions) {
      writer.string(topic === EVERYBODY ? '' : topic.slice(5)) // without `room:` or `user:`
      writer.integer(epoch)
      writer.integer(next)
      writer.integer(waited + (after === null || after >= AFTERS - 1 ? 0 : after + 1))
    }
    writer.integer(orders.length)
    for (const order of orders) writeOrder(order, isForAll)
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
  tops({ tops }) {
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

function writeOrder(order: Order, isForAll: boolean): void {
  const { kind, names, except, exceptUsers, exceptRooms } = order.target
  const id = 'id' in order ? order.id : undefined
  const type = exceptRooms ? 'partial' : id === undefined ? order.type : 'recorded'
  let flags: number = ORDERS.indexOf(type)
  if (order.type === 'send') flags |= (order.pushed ? PUSHED : 0) | (order.volatile ? VOLATILE : 0)
  if (except.length > 0) flags |= EXCEPT
  if (exceptUsers.length > 0) flags |= EXCEPT_USERS
  const isNamed = isForAll && kind !== 'all'
  if (isNamed) flags |= NAMED
  writer.byte(flags)
  if (isNamed) {
    writer.byte(TARGETS.indexOf(kind))
    writer.strings(names)
  }
  if (except.length > 0) writer.strings(except)
  if (exceptUsers.length > 0) writer.strings(exceptUsers)
  if (type === 'recorded') {
    writer.byte(order.type === 'close' ? 1 : 0)
    writer.string(id as string)
  }
  switch (order.type) {
    case 'send':
      if (exceptRooms) writer.strings(exceptRooms)
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
    let age: number | undefined
    for (let count = reader.integer(); count > 0; count--) {
      names.push(reader.string())
      const [epoch, next, last] = [reader.integer(), reader.integer(), reader.integer()]
      if (last >= WAITED) age = Math.floor((last - WAITED) / AFTERS)
      const after = last % AFTERS
      places.push({ epoch, next, after: after === 0 ? null : after - 1 })
    }
    const shared: Target = { kind, names: kind === 'all' ? [] : names, except: [], exceptUsers: [] }
    const topics = topicsOf(shared)
    if (places.length !== topics.length || topics.length === 0)
      throw new Garbage('its topics and positions do not match')
    const positions = topics.map((topic, i) => ({
      topic,
      ...(places[i] as Omit<Numbered, 'topic'>),
    }))
    const orders: Order[] = []
    for (let count = reader.integer(); count > 0; count--) orders.push(readOrder(reader, shared))
    const message = { kind: 'orders', positions, orders } as const
    return age === undefined ? message : { ...message, age }
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
    const list = text === '' ? [] : parseJson(text)
    if (!Array.isArray(list)) throw new Garbage('its members are not a list')
    return { kind: 'answer', id, count, members: list.map(readMember), more }
  },
  tops(reader) {
    const tops: Top[] = []
    for (let count = reader.integer(); count > 0; count--) {
      const [topic, epoch, next] = [reader.string(), reader.integer(), reader.integer()]
      tops.push({ topic, epoch, next, age: reader.integer() })
    }
    return { kind: 'tops', tops }
  },
  note: (reader) => ({ kind: 'note', text: reader.string() }),
}

function readOrder(reader: ByteReader, shared: Target): Order {
  const flags = reader.byte()
  const type = named(ORDERS, flags & 7)
  let target = shared
  if ((flags & (EXCEPT | EXCEPT_USERS | NAMED)) !== 0) {
    if ((flags & NAMED) !== 0) {
      // An order with its own target travels on the topic of all instances.
      if (shared.kind !== 'all')
        throw new Garbage('an order with its own target is on a topic of others')
      target = { ...target, kind: named(TARGETS, reader.byte()), names: reader.strings() }
    }
    if ((flags & EXCEPT) !== 0) target = { ...target, except: reader.strings() }
    if ((flags & EXCEPT_USERS) !== 0) target = { ...target, exceptUsers: reader.strings() }
  }
  switch (type) {
    case 'send':
    case 'partial': {
      if (type === 'partial') target = { ...target, exceptRooms: reader.strings() }
      const frame = reader.buffer()
      if (!isWholeFrame(frame)) throw new Garbage('its frame is malformed')
      const [pushed, volatile] = [(flags & PUSHED) !== 0, (flags & VOLATILE) !== 0]
      return { type: 'send', target, frame, pushed, volatile }
    }
    case 'join':
      return { type, target, rooms: reader.strings() }
    case 'leave':
    case 'close':
      return readChange(reader, type, target)
    case 'recorded': {
      const [change, id] = [reader.byte() === 1 ? 'close' : 'leave', reader.string()] as const
      return { ...readChange(reader, change, target), id }
    }
    case 'presence':
      return { type, target, text: reader.string() }
  }
}

function readChange(reader: ByteReader, type: Change['type'], target: Target): Change {
  if (type === 'leave') return { type, target, rooms: reader.strings() }
  return { type, target, code: reader.integer(), reason: reader.string() }
}

function readMember(value: unknown): Described {
  const { id, userId, info } = fieldsOf(value)
  if (typeof id !== 'string') throw new Garbage('a member has no id')
  return { id, userId: typeof userId === 'string' ? userId : undefined, info }
}

function named<T>(names: readonly T[], index: number): T {
  const name = names[index]
  if (name === undefined) throw new Garbage('it has an unknown part')
  return name
}
