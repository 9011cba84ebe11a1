// Counts the connections of each room or user of an instance.

import { membersOf, oneOf, textOf } from './reading.ts'
import type { Visitor } from './scans.ts'

/** The most names that are counted, and that an instance tells. */
const MOST_NAMES = 20_000
const MOST_TOLD = 200

/** Which rooms or users. */
export interface GroupSearch {
  readonly kind: 'room' | 'user'
  readonly text: string
}

/** The largest rooms or users of an instance. */
export interface Groups {
  readonly names: readonly (readonly [name: string, connections: number])[]
  /** All names that fit. */
  readonly matched: number
  /** False when there were more names or connections than were counted. */
  readonly isWhole: boolean
}

/** Reads a search; what is wrong becomes the default. */
export function readGroupSearch(value: unknown): GroupSearch {
  const { kind, text } = membersOf(value)
  return { kind: oneOf(kind, ['room', 'user']), text: textOf(text, 255).trim() }
}

/** Counts rooms or users with a name that contains the text. */
export function groupVisitor({ kind, text }: GroupSearch): Visitor<Groups> {
  const counts = new Map<string, number>()
  let isCut = false
  const add = (name: string): void => {
    if (!name.includes(text)) return
    const count = counts.get(name)
    if (count === undefined && counts.size >= MOST_NAMES) isCut = true
    else counts.set(name, (count ?? 0) + 1)
  }
  return {
    visit({ rooms, userId }) {
      if (kind === 'room') for (const room of rooms) add(room)
      else if (userId !== undefined) add(userId)
    },
    result: (isWhole) => ({
      names: largest(counts),
      matched: counts.size,
      isWhole: isWhole && !isCut,
    }),
  }
}

/** Adds up the answers of several instances. */
export function joinGroups(answers: readonly Groups[]): Groups {
  const counts = new Map<string, number>()
  for (const { names } of answers) {
    for (const [name, count] of names) counts.set(name, (counts.get(name) ?? 0) + count)
  }
  return {
    names: largest(counts),
    matched: Math.max(counts.size, ...answers.map(({ matched }) => matched)),
    isWhole: answers.every(({ isWhole, names, matched }) => isWhole && names.length === matched),
  }
}

function largest(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, MOST_TOLD)
}
