// Searches and sorts connections, one page at a time.

import type { Connection } from '../index.ts'
import { membersOf, numberOf, oneOf, textOf } from './reading.ts'
import type { Visitor } from './scans.ts'

const FIELDS = ['any', 'id', 'user', 'ip', 'room', 'path'] as const
const SORTS = ['age', 'bytes', 'queue', 'rtt'] as const
/** Rows of a page. */
export const PAGE = 50

/** A place in a sorted list: the page begins after it. */
export interface Cursor {
  readonly key: number
  readonly id: string
}

/** Which connections, in which order. */
export interface Search {
  readonly text: string
  readonly field: (typeof FIELDS)[number]
  readonly sort: (typeof SORTS)[number]
  /** Whether the largest comes first; for the age the oldest. */
  readonly descending: boolean
  readonly after: Cursor | null
}

/** The connections of one page on one instance. */
export interface Found {
  readonly page: readonly Cursor[]
  /** All connections that fit, also those of other pages. */
  readonly matched: number
  readonly isWhole: boolean
}

/** Reads a search; what is wrong becomes the default. */
export function readSearch(value: unknown): Search {
  const { text, field, sort, descending, after } = membersOf(value)
  const { key, id } = membersOf(after)
  return {
    text: textOf(text, 255).trim(),
    field: oneOf(field, FIELDS),
    sort: oneOf(sort, SORTS),
    descending: descending !== false,
    after: typeof id === 'string' ? { key: numberOf(key, 0), id } : null,
  }
}

/** Compares two places in the order of a search. */
export function inOrder({ descending }: Search, a: Cursor, b: Cursor): number {
  if (a.key !== b.key) return a.key < b.key === descending ? 1 : -1
  if (a.id === b.id) return 0
  return a.id < b.id ? -1 : 1
}

const KEYS: Readonly<Record<Search['sort'], (connection: Connection) => number>> = {
  age: ({ openedAt }) => -openedAt,
  bytes: ({ bytesRead, bytesWritten }) => bytesRead + bytesWritten,
  queue: ({ bufferedAmount }) => bufferedAmount,
  rtt: ({ rtt }) => rtt ?? -1,
}

type Test = (connection: Connection, text: string) => boolean

const TESTS: Readonly<Record<Exclude<Search['field'], 'any'>, Test>> = {
  id: ({ id }, text) => id.startsWith(text),
  user: ({ userId }, text) => userId?.includes(text) === true,
  ip: ({ ip }, text) => ip.startsWith(text),
  room: ({ rooms }, text) => rooms.has(text),
  path: ({ path }, text) => path.includes(text),
}

function fits({ text, field }: Search): (connection: Connection) => boolean {
  if (text === '') return () => true
  if (field !== 'any') return (connection) => TESTS[field](connection, text)
  const tests = Object.values(TESTS)
  return (connection) => tests.some((test) => test(connection, text))
}

/** Collects the page of a search. Its memory does not grow with the connections. */
export function pageVisitor(search: Search): Visitor<Found> {
  const test = fits(search)
  const keyOf = KEYS[search.sort]
  const order = (a: Cursor, b: Cursor): number => inOrder(search, a, b)
  const best: Cursor[] = []
  /** The last of a full page: later connections are left out. */
  let last: Cursor | null = null
  let matched = 0
  const prune = (): void => {
    best.sort(order)
    best.length = Math.min(best.length, PAGE)
    if (best.length === PAGE) last = best[PAGE - 1] ?? null
  }
  return {
    visit(connection) {
      if (!test(connection)) return
      matched++
      const place = { key: keyOf(connection), id: connection.id }
      if (search.after && order(place, search.after) <= 0) return
      if (last && order(place, last) >= 0) return
      best.push(place)
      if (best.length >= 4 * PAGE) prune()
    },
    result(isWhole) {
      prune()
      return { page: best, matched, isWhole }
    },
  }
}
