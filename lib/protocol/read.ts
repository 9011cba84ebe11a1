import type { MessageFault } from '../errors.ts'
import type { Envelope } from './envelope.ts'

/** How deep arrays and objects of a message may be nested; the envelope counts as 1. */
export const MAX_DEPTH = 32

/** A message that cannot be handled: why, and whatever could be read of it. */
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
 * Read one text message of `koaws.v1`: `docs/protocol.md`, section 2. What is in `data` is checked for
 * what can do harm in any program, and not for what it means.
 */
export function readEnvelope(text: string): Envelope | Fault {
  const value = parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return malformed(value === undefined ? 'No JSON' : 'No JSON object')
  }
  const { type, id } = value as { type?: unknown; id?: unknown }
  const trap = findTrap(value, MAX_DEPTH)
  if (trap) return new Fault(trap, TRAPS[trap], known(type, id))
  if (!isType(type)) return malformed('"type" must be a string of 1 to 255 bytes', known(type, id))
  if (id !== undefined && !isId(id)) {
    return malformed('"id" must be an integer from 1 to 9007199254740991', known(type, id))
  }
  return value as Envelope
}

function malformed(message: string, read?: Partial<Envelope>): Fault {
  return new Fault('ERR_KOAWS_MALFORMED', message, read)
}

/** What of a bad message can be used all the same, to answer it. */
function known(type: unknown, id: unknown): Partial<Envelope> {
  return { ...(isId(id) && { id }), ...(isType(type) && { type }) }
}

/** Undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isType(type: unknown): type is string {
  if (typeof type !== 'string' || type.length === 0) return false
  return type.length <= 85 || (type.length <= 255 && Buffer.byteLength(type) <= 255)
}

function isId(id: unknown): id is number {
  return Number.isSafeInteger(id) && (id as number) > 0
}

type Trap = 'ERR_KOAWS_TOO_DEEP' | 'ERR_KOAWS_PROTOTYPE_KEY'

const TRAPS: Record<Trap, string> = {
  ERR_KOAWS_TOO_DEEP: `Nested more than ${MAX_DEPTH} deep`,
  ERR_KOAWS_PROTOTYPE_KEY: 'The name of a property is not allowed',
}

/**
 * The first trap in a value, which may be so many levels deep: recursion ends there. Walking over every
 * message costs less than a search of its text for what could be a trap.
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
