// The notes between instances about a stream that a client has resumed on another one.
import { fieldsOf, isIntegerWithin } from '../fields.ts'
import type { AnswerType } from '../protocol/streams.ts'

/** How the notes begin. An instance that does not know them ignores them. */
export const NOTE = '{"stream":'

/** One note. The number is that of the request at the instance that asks. */
export type Note =
  /**
   * Asks for a stream: its name, the items received, the credit, the items that the client has taken, whether
   * the instance has been asked before, and the attempt of the client.
   */
  | ['pull', number, string, number, number, number, boolean, number]
  /** The instance does not have it, or has it no more. */
  | ['none', number]
  /** Items, from this index. */
  | ['items', number, number, string[]]
  | ['answer', number, number, AnswerType, string]
  | ['grant', number, number, number]
  | ['cancel', number]
  | ['leave', number]
  /** The client has resumed it elsewhere. */
  | ['gone', number]

/** What the relay needs of the hub. */
export interface RelayLine {
  /** The other instances that are known to be alive. */
  peers(): readonly string[]
  /** Tells another instance something. @returns false while the backplane does not work */
  tell(to: string, text: string): boolean
}

/** Returns the text of a note. */
export function noteOf(note: Note): string {
  return `${NOTE}${JSON.stringify(note)}}`
}

/** Returns the parts of a note; none for a malformed one. */
export function listOf(text: string): readonly unknown[] {
  try {
    const { stream } = fieldsOf(JSON.parse(text))
    return Array.isArray(stream) ? stream : []
  } catch {
    return []
  }
}

/** Returns whether a value of a note is a credit, which is below 0 after an item beyond it. */
export function isCredit(value: unknown): value is number {
  return isIntegerWithin(value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
}
