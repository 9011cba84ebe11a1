// Reads what the scripts answer and publish.
import { AdapterError } from '../../../errors.ts'
import { isNowhere, timeOf } from '../../../history/place.ts'
import {
  type Entry,
  type Missing,
  type Place,
  REMEMBERED,
  type Reading,
} from '../../../history/store.ts'

const MISSING: ReadonlySet<string> = new Set<Missing>(['trimmed', 'expired', 'epoch', 'ahead'])
/** `offset count bytes time key previous` */
const KEPT_HEAD = /^(\d{1,16}) (\d{1,16}) \d+ (\d{1,16}) (\S{1,16}) (\S{0,16})$/
/** The same after the epoch. */
const PUBLISHED_HEAD = /^([\w-]{1,32}) (\d{1,16}) (\d{1,16}) \d+ \d{1,16} (\S{1,16}) (\S{0,16})$/

/** An entry, and when it was recorded. */
interface Kept extends Entry {
  readonly time: number
}

/** What a read answered. */
export interface ReadReply {
  /** Whether the log exists. */
  readonly exists: boolean
  readonly top: Place
  readonly missing: Missing | null
  /** The time of Redis. */
  readonly now: number
  readonly entries: readonly Kept[]
}

/** Returns the place in an answer that begins with epoch, offset and key. */
function placeOfReply(reply: readonly unknown[]): Place {
  const [epoch, offset, key] = reply
  const place = { epoch: String(epoch), offset: Number(offset), key: String(key) }
  if (!Number.isSafeInteger(place.offset)) throw unreadable()
  return place
}

/** Returns the lines of an answer to APPEND, one for each entry. */
export function linesOf(reply: unknown, count: number): readonly string[] {
  const lines = String(reply).split('\n')
  if (lines.length !== count) throw unreadable()
  return lines
}

/** Returns the place in a line of APPEND, and the error of the publish or an empty text. */
export function recordedOf(line: string): { place: Place; error: string } {
  const [epoch, offset, key, ...error] = line.split(' ')
  return { place: placeOfReply([epoch, offset, key]), error: error.join(' ') }
}

export function readReplyOf(reply: unknown): ReadReply {
  if (!Array.isArray(reply)) throw unreadable()
  const [word, , , , now, list] = reply.map((one) => (Buffer.isBuffer(one) ? String(one) : one))
  const missing = MISSING.has(word) ? (word as Missing) : null
  if (!Array.isArray(list) || !(missing || word === 'ok' || word === 'none')) throw unreadable()
  return {
    exists: word !== 'none',
    top: placeOfReply(reply.slice(1, 4)),
    missing,
    now: Number(now),
    entries: list.map(keptOf),
  }
}

/** Returns an entry that arrived on the channel of a log; null for a payload from other software. */
export function publishedOf(data: Buffer): { epoch: string; entry: Entry } | null {
  const [head, payload] = split(data)
  const [, epoch, offset, count, key, previous] = PUBLISHED_HEAD.exec(head) ?? []
  if (!epoch || !key || previous === undefined) return null
  return { epoch, entry: { key, count: Number(count), payload, offset: Number(offset), previous } }
}

/**
 * Returns the answer to a read.
 *
 * @param since the place; null for all entries
 * @param judgedFrom since when it is known whether a log exists
 */
export function readingOf(
  reply: ReadReply,
  since: Place | null,
  ttl: number,
  judgedFrom: number,
): Reading {
  const { top, missing, now } = reply
  if (since === null) return { top, entries: reply.entries.filter(({ time }) => time > now - ttl) }
  if (isNowhere(since)) {
    const time = timeOf(since.epoch)
    const fits = time >= judgedFrom && time <= now && now - time < REMEMBERED
    if (!fits) return { top, missing: 'epoch' }
  } else if (!reply.exists || since.epoch !== top.epoch) return { top, missing: 'epoch' }
  return missing ? { top, missing } : { top, entries: reply.entries }
}

function keptOf(data: unknown): Kept {
  if (!Buffer.isBuffer(data)) throw unreadable()
  const [head, payload] = split(data)
  const [, offset, count, time, key, previous] = KEPT_HEAD.exec(head) ?? []
  if (!key || previous === undefined) throw unreadable()
  return {
    key,
    count: Number(count),
    payload,
    offset: Number(offset),
    previous,
    time: Number(time),
  }
}

function split(data: Buffer): [head: string, payload: Buffer] {
  const end = data.indexOf(10)
  return end < 0 ? ['', data] : [data.toString('latin1', 0, end), data.subarray(end + 1)]
}

function unreadable(): AdapterError {
  const why = 'Redis has data in the keys of the history that koaws cannot read'
  return new AdapterError('ERR_KOAWS_BACKPLANE', why)
}
