// Checks data against a schema, and reports issues as `ERR_KOAWS_INVALID`.

import { MessageError } from '../errors.ts'
import type { SchemaIssue, SchemaResult, StandardSchema } from '../protocol/standard-schema.ts'
import { isThenable } from '../thenable.ts'

/** The most issues that are reported, and the most characters of each. */
const MOST_ISSUES = 10
const LONGEST_MESSAGE = 200

/** One issue, as sent in `data.issues` of an `ERR_KOAWS_INVALID`. */
export interface Issue {
  readonly message: string
  readonly path: readonly (string | number)[]
}

/**
 * Returns received data as the schema outputs it; a promise only when the schema is asynchronous.
 *
 * @throws MessageError `ERR_KOAWS_INVALID` with the issues; an asynchronous schema rejects with it
 */
export function checkData(schema: StandardSchema, data: unknown): unknown {
  const result = schema['~standard'].validate(data)
  return isThenable(result) ? Promise.resolve(result).then(resultOf) : resultOf(result)
}

function resultOf(result: SchemaResult<unknown>): unknown {
  if (result.issues) throw invalid(result.issues, 400, '', '')
  return result.value
}

/**
 * Checks data before it is sent. An asynchronous schema is skipped.
 *
 * @param kind the kind of message, with which the error text begins, followed by `type`
 * @throws MessageError `ERR_KOAWS_INVALID` with the issues, which is not exposed to clients
 */
export function checkOutgoing(
  schema: StandardSchema,
  data: unknown,
  kind: string,
  type: string,
): void {
  const issues = issuesOf(schema, data)
  if (issues) throw invalid(issues, 500, `${kind} ${JSON.stringify(type)}: `, '')
}

/**
 * Checks a reply. A handler that returns undefined replies null, so the schema may accept either.
 *
 * @throws MessageError as {@link checkOutgoing}
 */
export function checkReply(schema: StandardSchema, value: unknown, type: string): void {
  if (value !== undefined) {
    checkOutgoing(schema, value, 'reply to', type)
    return
  }
  const issues = issuesOf(schema, undefined)
  if (!issues || !issuesOf(schema, null)) return
  const about = `reply to ${JSON.stringify(type)}: `
  throw invalid(issues, 500, about, '; is a return missing in the handler?')
}

function issuesOf(schema: StandardSchema, data: unknown): readonly SchemaIssue[] | undefined {
  const result = schema['~standard'].validate(data)
  if (!isThenable(result)) return result.issues
  Promise.resolve(result).catch(() => {})
  return undefined
}

function invalid(
  found: readonly SchemaIssue[],
  status: 400 | 500,
  before: string,
  behind: string,
): MessageError {
  const issues = found.slice(0, MOST_ISSUES).map(issueOf)
  const [first] = issues
  const where = first && first.path.length > 0 ? `${first.path.join('.')}: ` : ''
  const message = `${before}${where}${first?.message ?? 'not valid'}${behind}`
  return new MessageError(status, message, {
    code: 'ERR_KOAWS_INVALID',
    data: { issues },
    expose: status === 400,
  })
}

// Array.from: the paths of arktype are arrays of a subclass, and its constructor takes other
// arguments.
function issueOf({ message, path }: SchemaIssue): Issue {
  return {
    message: String(message).slice(0, LONGEST_MESSAGE),
    path: Array.from(path ?? [], segmentOf),
  }
}

function segmentOf(segment: PropertyKey | { readonly key: PropertyKey }): string | number {
  const key = typeof segment === 'object' ? segment.key : segment
  return typeof key === 'number' ? key : String(key).slice(0, LONGEST_MESSAGE)
}
