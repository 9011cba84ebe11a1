import { MessageError } from '../errors.ts'
import type { SchemaIssue, SchemaResult, StandardSchema } from '../protocol/standard-schema.ts'
import { isThenable } from '../thenable.ts'

/** So many issues are told, and so many characters of each. */
const MOST_ISSUES = 10
const LONGEST_MESSAGE = 200

/** One thing that is wrong, as it travels in `data.issues` of an `ERR_KOAWS_INVALID`. */
export interface Issue {
  readonly message: string
  readonly path: readonly (string | number)[]
}

/**
 * What a schema makes of data that somebody sent. A promise only where the schema is asynchronous.
 *
 * @throws MessageError `ERR_KOAWS_INVALID` with the issues, or the promise rejects with it
 */
export function checkData(schema: StandardSchema, data: unknown): unknown {
  const result = schema['~standard'].validate(data)
  return isThenable(result) ? Promise.resolve(result).then(resultOf) : resultOf(result)
}

function resultOf(result: SchemaResult<unknown>): unknown {
  if (result.issues) throw invalid(result.issues, true)
  return result.value
}

/**
 * Look at data that are about to be sent. An asynchronous schema is not waited for, and says nothing.
 *
 * @throws MessageError `ERR_KOAWS_INVALID` with the issues, which is not told to clients
 */
export function checkOutgoing(schema: StandardSchema, data: unknown): void {
  const result = schema['~standard'].validate(data)
  if (isThenable(result)) Promise.resolve(result).catch(() => {})
  else if (result.issues) throw invalid(result.issues, false)
}

function invalid(found: readonly SchemaIssue[], expose: boolean): MessageError {
  const issues = found.slice(0, MOST_ISSUES).map(issueOf)
  const [first] = issues
  const where = first && first.path.length > 0 ? `${first.path.join('.')}: ` : ''
  return new MessageError(expose ? 400 : 500, `${where}${first?.message ?? 'not valid'}`, {
    code: 'ERR_KOAWS_INVALID',
    data: { issues },
    expose,
  })
}

// Array.from, for arktype's paths are arrays of a class whose constructor takes something else.
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
