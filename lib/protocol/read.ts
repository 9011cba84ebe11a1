// Reads the messages of clients, and names their faults.
import type { MessageFault } from '../error-table.ts'
import { fieldsOf, isIntegerWithin, parseJson } from '../fields.ts'
import type { Envelope } from './envelope.ts'
import { MAX_RESUME } from './history.ts'

/** The type of the message that presents positions: `docs/protocol.md`, section 3.6. */
export const RESUME = 'koaws:resume'

/** The limit on the nesting of arrays and objects in a message; the envelope counts as 1. */
export const MAX_DEPTH = 32

/** A message that cannot be handled: the reason, and the parts that could be read. */
export class Fault {
  readonly code: MessageFault
  readonly message: string
  readonly id: number | undefined
  readonly about: string | undefined

  constructor(code: MessageFault, message: string, { id, type }: Partial<Envelope> = {}) {
    this.code = code
    this.message = message
    this.id = id
    this.about = type
  }
}

/**
 * Reads one text message of `koaws.v1`: `docs/protocol.md`, section 2. Rejects `data` that are
 * dangerous to any program. Schemas check the rest.
 */
export function readEnvelope(text: string): Envelope | Fault {
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return malformed(value === undefined ? 'No JSON' : 'No JSON object')
  }
  const { type, id } = value as { type?: unknown; id?: unknown }
  const trap = findTrap(value, MAX_DEPTH)
  if (trap) return new Fault(trap, TRAPS[trap], known(type, id))
  if (!isType(type))
    return malformed('"type" must be a well-formed string of 1 to 255 bytes', known(type, id))
  if (id !== undefined && !isId(id)) {
    return malformed('"id" must be an integer from 1 to 9007199254740991', known(type, id))
  }
  const { key, again, credit, upload, since, attempt } = fieldsOf(value)
  if (id !== undefined && key !== undefined && !(isKey(key) && isFlag(again))) {
    return malformed(
      '"key" must have 16 to 64 characters of A-Z a-z 0-9 _ -, and "again" must be a boolean',
      known(type, id),
    )
  }
  const places = isCount(credit, 1) && isCount(since, 0) && isCount(attempt, 1)
  if (id !== undefined && !(places && isFlag(upload))) {
    return malformed(
      '"credit" and "attempt" must be integers from 1, "since" one from 0, and "upload" a boolean',
      known(type, id),
    )
  }
  return value as Envelope
}

/** Returns whether a text may be a `koaws:resume`: its sender does not know `maxMessage` yet. */
export function isResume(text: Buffer): boolean {
  return text.length <= MAX_RESUME && text.includes(`"${RESUME}"`)
}

function malformed(message: string, read?: Partial<Envelope>): Fault {
  return new Fault('ERR_KOAWS_MALFORMED', message, read)
}

/** Returns the valid parts of a bad message, so that the error can name them. */
function known(type: unknown, id: unknown): Partial<Envelope> {
  return { ...(isId(id) && { id }), ...(isType(type) && { type }) }
}

function isType(type: unknown): type is string {
  if (typeof type !== 'string' || type.length === 0) return false
  if (!type.isWellFormed()) return false
  return type.length <= 85 || (type.length <= 255 && Buffer.byteLength(type) <= 255)
}

function isId(id: unknown): id is number {
  return isIntegerWithin(id, 1, Number.MAX_SAFE_INTEGER)
}

/** Whether a value has the form of a key: docs/protocol.md, section 3.7. */
function isKey(key: unknown): key is string {
  return typeof key === 'string' && /^[\w-]{16,64}$/.test(key)
}

/** Whether a value is absent, or an integer of at least `least`. */
function isCount(value: unknown, least: number): boolean {
  return value === undefined || isIntegerWithin(value, least, Number.MAX_SAFE_INTEGER)
}

function isFlag(value: unknown): value is boolean | undefined {
  return value === undefined || typeof value === 'boolean'
}

type Trap = 'ERR_KOAWS_TOO_DEEP' | 'ERR_KOAWS_PROTOTYPE_KEY'

const TRAPS: Record<Trap, string> = {
  ERR_KOAWS_TOO_DEEP: `Nested more than ${MAX_DEPTH} deep`,
  ERR_KOAWS_PROTOTYPE_KEY: 'The property names __proto__ and constructor.prototype are not allowed',
}

/**
 * Returns the first trap in a value. Recursion ends after `levels`. Walking over every message
 * costs less than searching its text for possible traps.
 */
function findTrap(value: object, levels: number): Trap | null {
  if (levels === 0) return 'ERR_KOAWS_TOO_DEEP'
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const inner: unknown = value[i]
      const trap = isObject(inner) ? findTrap(inner, levels - 1) : null
      if (trap) return trap
    }
    return null
  }
  for (const name in value) {
    if (name === '__proto__') return 'ERR_KOAWS_PROTOTYPE_KEY'
    const inner = (value as Record<string, unknown>)[name]
    if (!isObject(inner) || !Object.hasOwn(value, name)) continue
    if (name === 'constructor' && Object.hasOwn(inner, 'prototype'))
      return 'ERR_KOAWS_PROTOTYPE_KEY'
    const trap = findTrap(inner, levels - 1)
    if (trap) return trap
  }
  return null
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
