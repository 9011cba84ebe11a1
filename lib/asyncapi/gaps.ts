// The sentences about differences between two schemas, for both directions.
import type { Kind } from './located.ts'

/** `input`: clients send the value. `output`: the server sends it. */
export type Side = 'input' | 'output'

/** A difference that breaks clients, or that cannot be judged. */
export interface Gap {
  readonly judged: boolean
  /** A JSON pointer into the new document. */
  readonly at: string
  readonly message: string
}

const KIND_TEXT: Record<Kind, string> = {
  null: 'null',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
  string: 'a string',
  integer: 'a whole number',
  fraction: 'a number with a fraction',
}

/** Returns the start of a sentence about values that are no longer possible, or newly so. */
function sends(side: Side): string {
  return side === 'input' ? 'Clients may no longer send' : 'The server may now send'
}

export function kindsText(kinds: readonly Kind[]): string {
  const rest = kinds.filter((kind) => !/integer|fraction/.test(kind)).map((kind) => KIND_TEXT[kind])
  const numbers = kinds.filter((kind) => /integer|fraction/.test(kind))
  if (numbers.length === 2) rest.push('a number')
  else rest.push(...numbers.map((kind) => KIND_TEXT[kind]))
  return rest.join(' or ')
}

/** Returns a short text of a JSON value. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

export const say = {
  kinds: (side: Side, kinds: readonly Kind[]): string => `${sends(side)} ${kindsText(kinds)}.`,
  value: (side: Side, value: unknown): string => `${sends(side)} ${jsonText(value)}.`,
  other: (side: Side, allowed: readonly unknown[]): string => {
    const list = `${allowed.slice(0, 8).map(jsonText).join(', ')}${allowed.length > 8 ? ' and others' : ''}`
    return side === 'input'
      ? `Clients may send only ${list} now.`
      : `The server may now send other values than ${list}.`
  },
  limit: (side: Side, keyword: string, limit: unknown, other: unknown): string => {
    const [now, was] = side === 'input' ? [limit, other] : [other, limit]
    const text = (value: unknown): string => (value === undefined ? 'not set' : jsonText(value))
    return side === 'input'
      ? `Clients must keep a narrower limit: ${keyword} is ${text(now)} now, and was ${text(was)}.`
      : `The server may exceed the old limit: ${keyword} is ${text(now)} now, and was ${text(was)}.`
  },
  required: (side: Side, name: string): string =>
    side === 'input'
      ? `Clients must now send the field ${jsonText(name)}.`
      : `The server no longer always sends the field ${jsonText(name)}.`,
  removed: (name: string): string => `The server no longer sends the field ${jsonText(name)}.`,
  strange: (side: Side, name: string): string =>
    `${sends(side)} the field ${jsonText(name)}, which ${side === 'input' ? 'is no longer allowed' : 'was not allowed'}.`,
  open: (side: Side): string => `${sends(side)} fields with any name.`,
  names: (side: Side): string =>
    side === 'input'
      ? 'Clients may no longer use every name of a field that was allowed.'
      : 'The server may now use names of fields that were not allowed.',
  forms: (side: Side): string =>
    side === 'input'
      ? 'Clients may no longer send each form that was allowed: no alternative takes it.'
      : 'The server may now send a form that is none of the old alternatives.',
  changed: (keyword: string): string =>
    `The rule "${keyword}" differs, and cannot be judged: compare the two versions.`,
  lost: (): string => 'A $ref has no target, or never ends: the schema cannot be judged.',
  large: (): string => 'The schema is too large to be judged.',
  never: (): string =>
    'The schema refers to itself without a field in between: it cannot be judged.',
}
