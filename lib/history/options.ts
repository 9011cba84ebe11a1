// Checks the option `history`, and fills in its defaults.

import { fieldsOf } from '../fields.ts'
import { checkPatterns, matcher, type Patterns } from '../patterns.ts'
import { type Check, check, validate } from '../validate.ts'
import type { HistoryLimits } from './store.ts'

/** The option `history` of `koaWs()`: which messages are recorded, and for how long. */
export interface HistoryOptions {
  /**
   * The rooms that are recorded: a name, a prefix followed by `*`, a RegExp from `^` to `$`, or a list of
   * these. @default none
   */
  rooms?: Patterns | undefined
  /** Whether messages to users (`hub.user()`) are recorded. @default false */
  users?: boolean | undefined
  /** The largest number of messages that are kept for one room or user. @default 300 */
  messages?: number | undefined
  /** The largest size that is kept for one room or user, in bytes. @default 1_048_576 */
  bytes?: number | undefined
  /** How long a message is kept, in milliseconds. @default 300_000 */
  ttl?: number | undefined
  /** The largest size of all rooms and users together, in bytes. @default 268_435_456 */
  maxTotal?: number | undefined
}

/** {@link HistoryOptions}, with the defaults filled in. */
export interface ResolvedHistory extends HistoryLimits {
  readonly records: (room: string) => boolean
  readonly users: boolean
}

/** Returns the problem with the option `history`, or null. @throws OptionsError for a problem with one of its members */
export const historyCheck: Check = (value) => {
  validate('history', value, {
    rooms: checkPatterns,
    users: check.boolean,
    messages: check.count,
    bytes: check.count,
    ttl: check.milliseconds,
    maxTotal: check.count,
  })
  const { rooms, users, bytes = 1_048_576, maxTotal = 268_435_456 } = fieldsOf(value)
  if (rooms === undefined && users !== true) {
    return 'has no effect without "rooms" or "users: true".'
  }
  return Number(bytes) > Number(maxTotal)
    ? `has "bytes" (${bytes}) above "maxTotal" (${maxTotal}): the size of one room cannot exceed that of all.`
    : null
}

export function resolveHistory(given: HistoryOptions): ResolvedHistory {
  const { rooms = [], users = false, messages = 300, bytes = 1_048_576 } = given
  const { ttl = 300_000, maxTotal = 268_435_456 } = given
  return { records: matcher(rooms), users, messages, bytes, ttl, maxTotal }
}
