// Positions: the text form of a place, which applications and clients treat as opaque.

import { OWN_LOG } from '../protocol/history.ts'
import type { Entry, Place } from './store.ts'

/** `<epoch>.<offset>.<key>`: the parts have no dot. */
const FORM = /^([\w-]{1,32})\.(0|[1-9]\d{0,15})\.([\w-]{0,16})$/

/** Returns the position of a place. */
export function positionOf({ epoch, offset, key }: Place): string {
  return `${epoch}.${offset}.${key}`
}

/** Returns the place of a position; null for a text that is none. */
export function placeOf(position: unknown): Place | null {
  const [, epoch, offset, key] = typeof position === 'string' ? (FORM.exec(position) ?? []) : []
  if (epoch === undefined || key === undefined) return null
  const number = Number(offset)
  return Number.isSafeInteger(number) ? { epoch, offset: number, key } : null
}

/** Returns whether an entry holds the message at a place. */
export function holds(entry: Entry, { offset, key }: Place): boolean {
  return offset <= entry.offset && offset > entry.offset - entry.count && key === entry.key
}

/** The digits of a time: base 36, in milliseconds, until the year 5188. */
const DIGITS = 9
const TIME = /^[0-9a-z]{9}$/

/**
 * Returns the epoch of a log that does not exist at a time. A log that is born later has an epoch
 * that sorts after it.
 */
export function unborn(time: number): string {
  return Math.floor(time).toString(36).padStart(DIGITS, '0')
}

/** Returns whether an epoch is that of a log that did not exist. */
export function isUnborn(epoch: string): boolean {
  return TIME.test(epoch)
}

/** Returns the time in an epoch; 0 for a text that has none. */
export function timeOf(epoch: string): number {
  const time = epoch.slice(0, DIGITS)
  return TIME.test(time) ? Number.parseInt(time, 36) : 0
}

/** Returns the place of a log that does not exist at a time in epoch milliseconds. */
export function nowhere(time: number): Place {
  return { epoch: unborn(time), offset: 0, key: '' }
}

/** Returns whether a place is that of a log that did not exist. */
export function isNowhere({ epoch, offset, key }: Place): boolean {
  return isUnborn(epoch) && offset === 0 && key === ''
}

/** Returns the room of a log as clients know it: empty for messages to a user. */
export function roomOf(log: string): string {
  return log.startsWith('room:') ? log.slice(5) : OWN_LOG
}

/** Returns the kind of a log, and the name of its room or user. */
export function partsOf(log: string): ['rooms' | 'users', string] {
  return [log.startsWith('user:') ? 'users' : 'rooms', log.slice(5)]
}
