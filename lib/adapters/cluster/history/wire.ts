// The messages between the instances as bytes.

import { hasFields } from '../../../fields.ts'
import type { Message } from './messages.ts'

type Check = (value: unknown) => boolean

/** An object or an array. */
type Members = Record<string, unknown>

const text: Check = (value) => typeof value === 'string' && value.length <= 1_024
const count: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
const time: Check = (value) => typeof value === 'number' && value >= 0
const flag: Check = (value) => typeof value === 'boolean'
const bytes: Check = (value) => Buffer.isBuffer(value)
const one =
  (...values: readonly string[]): Check =>
  (value) =>
    values.some((each) => each === value)
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
const either =
  (...checks: readonly Check[]): Check =>
  (value) =>
    checks.some((check) => check(value))
const shape = (checks: Readonly<Record<string, Check>>): Check => {
  const entries = Object.entries(checks)
  return (value) => hasFields(value) && entries.every(([name, check]) => check(value[name]))
}

const place = shape({ epoch: text, offset: count, key: text })
const mark = shape({ seq: count, offset: count, key: text })
const newEntry = { key: text, count, payload: bytes }
const entry = { ...newEntry, offset: count, previous: text }
const published = { from: text, series: count, n: count, known: count }
const kept = shape({ ...entry, ...published, seq: count, at: time, via: text })
const spot = shape({ n: count, seq: count, offset: count })
const source = shape({ series: count, n: count, via: text, at: time, spots: list(spot) })
const isSource = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && text(value[0]) && source(value[1])
const snapshot = shape({
  epoch: text,
  ballot: text,
  zero: time,
  at: time,
  entries: list(kept),
  last: mark,
  done: mark,
  cut: shape({ offset: count, key: text }),
  trimmed: count,
  sources: list(isSource),
})
const question = either(
  shape({ want: one('read'), since: orNull(place) }),
  shape({ want: one('top', 'follow') }),
  shape({ want: one('renew'), seen: place }),
)
const reading = either(
  shape({ top: place, entries: list(shape(entry)) }),
  shape({ top: place, missing: one('trimmed', 'expired', 'epoch', 'ahead') }),
)

const log = { log: text }
const ballot = { ...log, ballot: text }
const sequence = shape({ ...ballot, seq: count })
const numbered = { ...log, number: count }

/** What each kind of message has. */
const MESSAGES: Readonly<Record<Message['kind'], Check>> = {
  hello: shape({}),
  welcome: shape({
    isUp: flag,
    isLeaving: flag,
    peers: list(text),
    ends: list(text),
    forgotten: time,
  }),
  up: shape({}),
  leaving: shape({}),
  empty: shape({}),
  secure: shape({ ends: list(text) }),
  missed: shape({}),
  publish: shape({ ...log, epoch: text, ...published, ...newEntry }),
  done: shape({ ...log, epoch: text, series: count, n: count, offsets: list(count) }),
  reset: shape({ ...log, epoch: text }),
  redirect: shape({ ...ballot, id: text }),
  gather: shape({ ...ballot, handFrom: text, has: text, seq: count }),
  promised: shape({
    ...ballot,
    holds: flag,
    copy: orNull(snapshot),
    follows: flag,
    newest: text,
    forgotten: time,
  }),
  busy: shape({ ...ballot, owner: text, owned: text }),
  refused: shape({ ...ballot, promised: text }),
  take: shape(log),
  install: shape({ ...log, copy: snapshot }),
  installed: sequence,
  stale: shape({ ...ballot, promised: text }),
  replicate: shape({ ...ballot, entry: kept, done: count }),
  replicated: sequence,
  drop: shape(ballot),
  dropped: shape(ballot),
  owns: shape({ ...ballot, epoch: text }),
  committed: sequence,
  recorded: shape({ ...log, epoch: text, entries: list(shape(entry)) }),
  unfollow: shape(log),
  ask: shape({ ...numbered, question }),
  answer: shape({ ...numbered, reading }),
  none: shape({ ...numbered, at: time, newest: text, forgotten: time }),
}

const CHECKS: ReadonlyMap<string, Check> = new Map(Object.entries(MESSAGES))

/** The name of the length of a payload, which follows the JSON. */
const LENGTH = '$'

/** Returns messages as bytes: the length of their JSON, the JSON, and the payloads. */
export function encode(messages: readonly Message[]): Buffer {
  const payloads: Buffer[] = []
  const json = Buffer.from(JSON.stringify(packed(messages, payloads)))
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(json.length)
  return Buffer.concat([head, json, ...payloads])
}

/**
 * Returns messages from bytes. Payloads are copied: a view would keep everything that arrived with it.
 *
 * @throws RangeError for bytes that are no messages
 */
export function decode(body: Buffer): Message[] {
  if (body.length < 4) throw new RangeError('the messages are truncated')
  const end = 4 + body.readUInt32BE(0)
  const reader = { rest: body.subarray(end) }
  const messages = unpacked(parse(body.toString('utf8', 4, end)), reader)
  if (!Array.isArray(messages)) throw new RangeError('a list of messages was expected')
  for (const message of messages) {
    if (!isMessage(message)) throw new RangeError('a message is malformed')
  }
  return messages
}

/** Returns the approximate memory of a message. */
export function sizeOf(message: Message): number {
  let size = 256
  switch (message.kind) {
    case 'publish':
      return size + message.payload.length
    case 'replicate':
      return size + message.entry.payload.length
    case 'recorded':
      for (const { payload } of message.entries) size += payload.length + 64
      return size
    case 'answer':
      if (!('entries' in message.reading)) return size
      for (const { payload } of message.reading.entries) size += payload.length + 64
      return size
    case 'install':
    case 'promised':
      for (const { payload } of message.copy?.entries ?? []) size += payload.length + 128
      return size
    default:
      return size
  }
}

function isMessage(value: unknown): value is Message {
  if (!hasFields(value)) return false
  const check = typeof value['kind'] === 'string' ? CHECKS.get(value['kind']) : undefined
  return check?.(value) ?? false
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new RangeError('the messages are not JSON')
  }
}

/** Returns a value with the length of each payload in its place. What has no payload is not copied. */
function packed(value: unknown, payloads: Buffer[]): unknown {
  if (!isObject(value)) return value
  if (Buffer.isBuffer(value)) {
    payloads.push(value)
    return { [LENGTH]: value.length }
  }
  if (Array.isArray(value)) return value.map((each) => packed(each, payloads))
  let copy: Members | null = null
  for (const name of Object.keys(value)) {
    const member = value[name]
    if (!isObject(member)) continue
    copy ??= { ...value }
    copy[name] = packed(member, payloads)
  }
  return copy ?? value
}

/** Returns a value from JSON with the payloads in place of their lengths. It is changed. */
function unpacked(value: unknown, reader: { rest: Buffer }): unknown {
  if (!isObject(value)) return value
  const length = value[LENGTH]
  if (length !== undefined) return payloadOf(length, reader)
  for (const name of Object.keys(value)) {
    const member = value[name]
    if (isObject(member)) value[name] = unpacked(member, reader)
  }
  return value
}

function payloadOf(length: unknown, reader: { rest: Buffer }): Buffer {
  if (typeof length !== 'number' || !count(length) || length > reader.rest.length) {
    throw new RangeError('a payload is truncated')
  }
  const payload = Buffer.from(reader.rest.subarray(0, length))
  reader.rest = reader.rest.subarray(length)
  return payload
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null
}
