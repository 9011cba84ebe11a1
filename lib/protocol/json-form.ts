// Writes JSON, and rejects values that JSON would turn into `{}`.
import { types } from 'node:util'

/** A value without a JSON form: its path and the end of a sentence that begins with the path. */
interface Lost {
  path: string
  readonly why: string
}

/**
 * Returns `JSON.stringify(value)`. Rejects values that JSON would silently turn into `{}`.
 *
 * @param kind the kind of message; the error begins with `kind` and `type`
 * @throws TypeError with the path of a Map, Set, typed array, ArrayBuffer, Promise, BigInt, cycle,
 * or another object that becomes `{}`; or the error that a `toJSON` or a getter throws
 */
export function jsonText(value: unknown, kind: string, type: string): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    const lost = findUnwritable(value, [])
    throw lost ? lossError(lost, kind, type) : error
  }
  if (text === undefined) throw lossError({ path: '', why: withoutForm(value) }, kind, type)
  const lost = typeof value === 'object' && value !== null ? findLoss(value) : null
  if (lost) throw lossError(lost, kind, type)
  return text
}

function lossError({ path, why }: Lost, kind: string, type: string): TypeError {
  return new TypeError(`${kind} ${JSON.stringify(type)}: data${path} ${why}.`)
}

/** Finds an object that JSON has emptied. Run it after `JSON.stringify`, against cycles. */
function findLoss(value: object & { toJSON?: unknown }): Lost | null {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      const lost = typeof item === 'object' && item !== null ? findLoss(item) : null
      if (lost) return under(lost, `[${i}]`)
    }
    return null
  }
  if (typeof value.toJSON === 'function') return null
  let empty = true
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue
    empty = false
    const property = (value as Record<string, unknown>)[key]
    const lost = typeof property === 'object' && property !== null ? findLoss(property) : null
    if (lost) return under(lost, segment(key))
  }
  return isPlain(value) || !keepsNothing(value, empty) ? null : { path: '', why: opaque(value) }
}

/** Finds the value that made `JSON.stringify` throw: a BigInt or a cycle. */
function findUnwritable(value: unknown, parents: readonly unknown[]): Lost | null {
  if (typeof value === 'bigint') return { path: '', why: withoutForm(value) }
  if (typeof value !== 'object' || value === null) return null
  if (parents.includes(value)) return { path: '', why: 'refers back to an object that holds it' }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return null
  const inner = [...parents, value]
  for (const [key, property] of Object.entries(value)) {
    const lost = findUnwritable(property, inner)
    if (lost) return under(lost, Array.isArray(value) ? `[${key}]` : segment(key))
  }
  return null
}

function under(lost: Lost, outer: string): Lost {
  lost.path = outer + lost.path
  return lost
}

/** Returns a property as part of a path. Cuts long names, which may be keys from outside. */
function segment(key: string): string {
  return /^[\p{L}_$][\p{L}\p{N}_$]{0,63}$/u.test(key)
    ? `.${key}`
    : `[${JSON.stringify(key.slice(0, 64))}]`
}

/** Returns whether an object is a literal, also of another realm or without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Returns whether an object keeps its content outside its properties. */
function keepsNothing(value: object, empty: boolean): boolean {
  if (empty) return !types.isBoxedPrimitive(value)
  return types.isMap(value) || types.isSet(value) || ArrayBuffer.isView(value)
}

function withoutForm(value: unknown): string {
  if (typeof value === 'bigint') return 'is a BigInt, which has no JSON form: send a string'
  return value === undefined ? 'is undefined' : `is a ${typeof value}, which has no JSON form`
}

function opaque(value: object): string {
  if (types.isPromise(value)) return 'is a Promise: await it first'
  const name: unknown = value.constructor?.name
  const kind = typeof name === 'string' && name !== '' ? name.slice(0, 64) : 'special object'
  const article = /^[AEIO]/.test(kind) ? 'an' : 'a'
  return `is ${article} ${kind}, which JSON cannot represent: send an array, a string or a plain object made from it`
}
