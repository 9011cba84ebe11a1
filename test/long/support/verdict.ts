import type { StandardSchema } from '../../../lib/protocol/standard-schema.ts'
import type { HostileMessage } from '../../support/hostile-messages.ts'
import type { HostileRoute } from './hostile-protocols.ts'

/**
 * The expected reaction of a server to a message on an open connection, derived from
 * docs/protocol.md alone.
 */
export interface Verdict {
  /** The possible names in `status().drops`; empty for a valid message. */
  readonly counted: readonly string[]
  /** The id of the expected answer; undefined when none is expected. */
  readonly answers: number | undefined
  /** The expected data of the answer as JSON; undefined when unknown. */
  readonly echo?: string | undefined
}

const MAX_DEPTH = 32
const MAX_MESSAGE = 65_536

interface Read {
  type?: unknown
  id?: unknown
  data?: unknown
}

/** Judges a message to a route. */
export function verdictOf({ data, binary }: HostileMessage, route: HostileRoute): Verdict {
  if (binary) return bad('binary')
  if (Buffer.byteLength(data) > MAX_MESSAGE) return bad('tooLarge')
  const read = parsed(String(data))
  if (read === null) return bad('malformed')
  const { type, id } = read
  const answers = isId(id) ? id : undefined
  const traps = trapsIn(read)
  if (traps.length > 0) return { counted: traps, answers }
  if (!isType(type) || (id !== undefined && !isId(id))) return { counted: ['malformed'], answers }
  if (type === 'koaws:reply' || type === 'koaws:error') return { counted: [], answers: undefined }
  if (type.startsWith('koaws:')) {
    return { counted: [], answers, echo: type === 'koaws:ping' ? 'null' : undefined }
  }
  if (!route.types.includes(type)) return { counted: ['unknownType'], answers }
  const schema = route.protocol?.types[type]?.data
  if (schema && !fits(schema, read.data)) return { counted: ['invalid'], answers }
  const echo = type === 'echo' ? JSON.stringify(read.data ?? null) : undefined
  return { counted: [], answers, echo }
}

function bad(reason: string): Verdict {
  return { counted: [reason], answers: undefined }
}

function parsed(text: string): Read | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

function isId(id: unknown): id is number {
  return typeof id === 'number' && Number.isInteger(id) && id >= 1 && id <= 2 ** 53 - 1
}

function isType(type: unknown): type is string {
  if (typeof type !== 'string' || type === '' || !type.isWellFormed()) return false
  return Buffer.byteLength(type) <= 255
}

/** Returns the traps in a value. It works level by level, so that no depth overflows the stack. */
function trapsIn(value: object): string[] {
  const found = new Set<string>()
  let level: object[] = [value]
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) {
      found.add('tooDeep')
      break
    }
    level = level.flatMap((one) => {
      if (holdsPrototypeKey(one)) found.add('prototypeKey')
      return Object.values(one).filter((inner) => typeof inner === 'object' && inner !== null)
    })
  }
  return [...found]
}

function holdsPrototypeKey(value: object): boolean {
  if (Object.hasOwn(value, '__proto__')) return true
  if (!Object.hasOwn(value, 'constructor')) return false
  const inner: unknown = (value as { constructor: unknown }).constructor
  return typeof inner === 'object' && inner !== null && Object.hasOwn(inner, 'prototype')
}

function fits(schema: StandardSchema, data: unknown): boolean {
  const result = schema['~standard'].validate(data) as { issues?: unknown }
  // The asynchronous schema checks the same as its synchronous part.
  if (result instanceof Promise) {
    result.catch(() => {})
    return typeof (data as { text?: unknown } | null)?.text === 'string'
  }
  return !result.issues
}
