// What is sent, and what a comparison of its parts reports to.
import type { Side } from './gaps.ts'
import type { Located, Resolved } from './located.ts'

/** What a comparison of parts reports to. */
export interface Reporter {
  readonly side: Side
  report(message: string, at: string, judged?: boolean): void
  /** Compares the schemas of a field or an item. */
  descend(subs: readonly Located[], sup: Located): void
}

/** One schema as the sum of what it requires, without alternatives, for values of one kind. */
export interface Sent {
  readonly parts: readonly Resolved[]
  /** Where the new document has it. */
  readonly at: string
  /** Whether the schema has no other alternative. */
  readonly alone: boolean
}
