// What applications read of a history: `audience.history()`.

import type { HistoryMessage, HistoryQuery, RoomHistory } from '../connection/audience.ts'
import { Frame } from '../connection/frame.ts'
import { KoaWsError } from '../errors.ts'
import { fieldsOf, isIntegerWithin } from '../fields.ts'
import { describe, validate } from '../validate.ts'
import type { ResolvedHistory } from './options.ts'
import { holds, partsOf, placeOf, positionOf } from './place.ts'
import { decodeRecords, type HistoryRecord } from './record.ts'
import type { HistoryStore, Place, Reading } from './store.ts'

/** Reads the history of a hub for its application. */
export class HistoryReader {
  readonly #store: HistoryStore
  readonly #limits: ResolvedHistory

  constructor(store: HistoryStore, limits: ResolvedHistory) {
    this.#store = store
    this.#limits = limits
  }

  /** Returns the position of a log. Rejects for one without a history. */
  async position(log: string): Promise<string> {
    this.assertRecorded(log)
    return positionOf(await this.#store.top(log))
  }

  /**
   * Returns the messages of a log. Rejects as `position()`, with a TypeError for a wrong value, and with an OptionsError
   * for a query that has other members.
   */
  async read(log: string, query: HistoryQuery = {}): Promise<RoomHistory> {
    this.assertRecorded(log)
    validate('history()', query, { since: () => null, limit: () => null })
    const { since, limit } = query
    const place = since === undefined ? null : placeIn('history()', since)
    if (limit !== undefined && !isIntegerWithin(limit, 1, Number.MAX_SAFE_INTEGER)) {
      throw new TypeError(
        `history(): "limit" must be a whole number above 0, not ${describe(limit)}.`,
      )
    }
    return roomHistory(await this.#store.read(log, place), place, limit)
  }

  isRecorded(log: string): boolean {
    const [kind, name] = partsOf(log)
    return kind === 'users' ? this.#limits.users : this.#limits.records(name)
  }

  /** @throws KoaWsError for a log without a history */
  assertRecorded(log: string): void {
    if (this.isRecorded(log)) return
    const [kind, name] = partsOf(log)
    const option = kind === 'users' ? 'history.users' : 'history.rooms'
    throw new KoaWsError(
      'ERR_KOAWS_NO_HISTORY',
      `Messages of the ${kind === 'users' ? 'user' : 'room'} ${JSON.stringify(name)} are not recorded: the option "${option}" does not include it.`,
    )
  }
}

/** Returns what a reading of the store has for an application. */
function roomHistory(
  reading: Reading,
  since: Place | null,
  limit: number | undefined,
): RoomHistory {
  const { top } = reading
  const none = { messages: [], position: positionOf(top), complete: false }
  if ('missing' in reading) return none
  const { entries } = reading
  const all: { place: Place; record: HistoryRecord }[] = []
  for (const entry of entries) {
    const first = entry.offset - entry.count + 1
    for (const [i, record] of decodeRecords(entry.payload).entries()) {
      const place = { epoch: top.epoch, offset: first + i, key: entry.key }
      if (!since || !holds(entry, since) || place.offset > since.offset) all.push({ place, record })
    }
  }
  const sent = all.filter(({ record }) => !record.isChange) // changes of the membership are in the log, too
  const chosen = limit === undefined ? sent : since ? sent.slice(0, limit) : sent.slice(-limit)
  const isWhole = chosen.length === sent.length
  const end = since && !isWhole ? chosen.at(-1)?.place : top
  return {
    messages: chosen.map(({ place, record }) => messageOf(place, record)),
    position: positionOf(end ?? top),
    complete: since !== null || (isWhole && (all[0]?.place.offset ?? top.offset + 1) === 1),
  }
}

function messageOf(place: Place, { frame, pushed }: HistoryRecord): HistoryMessage {
  const { payload, binary } = Frame.decode(frame, null)
  const position = positionOf(place)
  if (binary) return { position, type: undefined, data: Buffer.from(payload) }
  const text = payload.toString('utf8')
  if (!pushed) return { position, type: undefined, data: text }
  const { type, data } = fieldsOf(JSON.parse(text))
  return { position, type: String(type), data }
}

/** Returns the error of a hub without the option `history`. */
export function noHistory(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_NO_HISTORY',
    'This hub records no messages: give koaWs() the option "history".',
  )
}

/** Returns the error of `replay()` for a client that presents its positions. */
export function recoversItself(room: string): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_REPLAY',
    `connection.replay(${JSON.stringify(room)}): this client presents its positions by itself. Call join() for it.`,
  )
}

/** Reads a position of an application. @throws TypeError for another value */
export function placeIn(where: string, given: unknown): Place {
  const place = placeOf(given)
  if (place) return place
  throw new TypeError(
    `${where}: "since" must be a position, such as the result of audience.position(), not ${describe(given)}.`,
  )
}
