// Whether every value that one side sends is valid for the other side, by their JSON Schemas.
import { accepts, isKnown } from './accepts.ts'
import { ArrayRules } from './contained-array.ts'
import { ObjectRules } from './contained-object.ts'
import { type Gap, type Side, say } from './gaps.ts'
import {
  allowsKind,
  flatten,
  inside,
  isAnnotation,
  isNever,
  isSame,
  isSameKeyword,
  type Kind,
  kindsOf,
  type Located,
  listIn,
  type Resolved,
  resolve,
  valuesOf,
} from './located.ts'
import { numberGaps, stringGaps } from './scalars.ts'
import type { Reporter, Sent } from './sent.ts'

/** The most steps of one comparison. */
const STEPS = 50_000
/** The most alternatives of one schema. */
const ALTERNATIVES = 256
/** The most steps without a field or an item in between. */
const LEVELS = 64

/** Keywords that a comparison needs more than itself for, or knows. */
const JUDGED = /^(?:\$ref|type|const|enum|allOf|anyOf|oneOf|then|else)$/

/**
 * Compares what is sent with what is accepted. For the side `input`, clients send by the old schema,
 * and the new one accepts; for `output`, the server sends by the new one, and clients know the old
 * one. A sender sends only fields that its schema names, unless the schema allows others.
 *
 * @param sub the schema of the sender
 * @param sup the schema of the receiver
 * @returns the gaps; without any, each value of the sender is valid for the receiver
 */
export function gapsBetween(sub: Located, sup: Located, side: Side): Gap[] {
  const comparison = new Comparison(side)
  comparison.contains([sub], sup, 0)
  return comparison.gaps()
}

class Comparison implements Reporter {
  readonly side: Side
  #gaps = new Map<string, Gap>()
  #steps = 0
  readonly #ids = new Map<unknown, number>()
  /** The comparisons that are going on. A pair that meets itself in a field or item holds. */
  readonly #open = new Set<string>()

  constructor(side: Side) {
    this.side = side
  }

  gaps(): Gap[] {
    return [...this.#gaps.values()]
  }

  report(message: string, at: string, judged = true): void {
    this.#gaps.set(`${at}\n${message}`, { judged, at, message })
  }

  descend(subs: readonly Located[], sup: Located): void {
    const pair = [...subs, sup].map((one) => this.#idOf(one)).join(' ')
    if (this.#open.has(pair)) return
    this.#open.add(pair)
    this.contains(subs, sup, 0)
    this.#open.delete(pair)
  }

  #idOf({ schema, root }: Located): number | string {
    if (typeof schema === 'boolean') return String(schema)
    if (!this.#ids.has(root)) this.#ids.set(root, this.#ids.size)
    if (!this.#ids.has(schema)) this.#ids.set(schema, this.#ids.size)
    return `${this.#ids.get(root)}:${this.#ids.get(schema)}`
  }

  contains(subs: readonly Located[], sup: Located, level: number): void {
    const target = resolve(sup)
    const [first] = subs
    const at = this.side === 'input' ? (target ?? sup).at : ((first && resolve(first)) ?? sup).at
    if (level > LEVELS) {
      this.report(say.never(), at, false)
      return
    }
    if (++this.#steps > STEPS) {
      this.report(say.large(), at, false)
      return
    }
    const parts = flatten(subs)
    if (!target || !parts) {
      this.report(say.lost(), at, false)
      return
    }
    const { schema } = target
    if (schema === true || parts === 'never') return
    if ([...subs, ...parts].some((one) => isSame(one, target))) return
    for (const inner of listIn(target, 'allOf')) this.contains(subs, inner, level + 1)
    const alternatives = this.#alternatives(parts)
    if (!alternatives) {
      this.report(say.large(), at, false)
      return
    }
    const alone = alternatives.length === 1
    for (const one of alternatives) {
      const sent: Sent = { parts: one, at, alone }
      if (schema === false || isNever(schema)) this.#onlyKinds(sent, [])
      else this.#judge(sent, { ...target, schema }, level)
    }
  }

  /** Returns the schema once for each combination of its alternatives; null if they are too many. */
  #alternatives(parts: readonly Resolved[]): Resolved[][] | null {
    const done: Resolved[][] = []
    const open: Resolved[][] = [[...parts]]
    for (let one = open.pop(); one; one = open.pop()) {
      const current = one
      const index = current.findIndex(({ schema }) => schema['anyOf'] ?? schema['oneOf'])
      const part = current[index]
      if (!part) {
        done.push(current)
        continue
      }
      if (done.length + open.length > ALTERNATIVES) return null
      const keyword = part.schema['anyOf'] === undefined ? 'oneOf' : 'anyOf'
      const { [keyword]: _, ...rest } = part.schema
      for (const branch of listIn(part, keyword).toReversed()) {
        const inner = flatten([branch])
        if (inner === null) return null
        if (inner !== 'never')
          open.push(current.toSpliced(index, 1, { ...part, schema: rest }, ...inner))
      }
    }
    return done
  }

  #onlyKinds(sent: Sent, left: readonly Kind[]): void {
    const lost = kindsOf(sent.parts).filter((kind) => !left.includes(kind))
    if (lost.length > 0) this.report(say.kinds(this.side, lost), sent.at)
  }

  #judge(sent: Sent, target: Resolved, level: number): void {
    const values = valuesOf(sent.parts)
    if (values) {
      for (const value of values) this.#judgeValue(value, sent, target)
      return
    }
    const kinds = kindsOf(sent.parts)
    const left = kinds.filter((kind) => allowsKind(target.schema, kind))
    this.#onlyKinds(sent, left)
    for (const kind of left) {
      if (kind === 'null') this.#judgeValue(null, sent, target)
      else if (kind === 'boolean')
        for (const value of [false, true]) this.#judgeValue(value, sent, target)
      else this.#judgeKind(kind, sent, target, level)
    }
  }

  #judgeValue(value: unknown, sent: Sent, target: Resolved): void {
    const verdict = accepts(value, target)
    if (verdict === true) return
    if (verdict === false) this.report(say.value(this.side, value), sent.at)
    else this.#unknown(Object.keys(target.schema).find((one) => !isAnnotation(one)) ?? '$ref', sent)
  }

  #unknown(keyword: string, sent: Sent): void {
    this.report(say.changed(keyword), sent.at, false)
  }

  #judgeKind(kind: Kind, sent: Sent, target: Resolved, level: number): void {
    const { schema } = target
    const allowed = valuesOf([target])
    if (allowed) {
      this.report(say.other(this.side, allowed), sent.at)
      return
    }
    for (const keyword of ['anyOf', 'oneOf']) {
      if (schema[keyword] !== undefined) this.#judgeForms(kind, keyword, sent, target, level)
    }
    if (kind === 'string') stringGaps(sent, target, this)
    else if (kind === 'array') new ArrayRules(sent, target, this).compare()
    else if (kind === 'object') new ObjectRules(sent, target, this).compare()
    else numberGaps(kind, sent, target, this)
    for (const keyword of Object.keys(schema)) {
      if (JUDGED.test(keyword) || isKnown(keyword) || isAnnotation(keyword)) continue
      if (keyword === 'patternProperties' || keyword === 'prefixItems') continue
      if (!sent.parts.some((one) => isSameRule(one, target, keyword))) this.#unknown(keyword, sent)
    }
  }

  /** One alternative of the receiver must take all values of this kind. */
  #judgeForms(kind: Kind, keyword: string, sent: Sent, target: Resolved, level: number): void {
    const branches = listIn(target, keyword)
    const narrowed: Located = {
      schema: { type: kind === 'fraction' ? 'number' : kind },
      at: sent.at,
      root: null,
    }
    const fits = branches.some((branch) => {
      const outer = this.#gaps
      this.#gaps = new Map()
      this.contains([...sent.parts, narrowed], branch, level + 1)
      const clean = this.#gaps.size === 0
      this.#gaps = outer
      return clean
    })
    if (!fits) {
      this.report(say.forms(this.side), sent.at)
      return
    }
    if (keyword === 'oneOf' && !areApart(branches)) this.#unknown(keyword, sent)
  }
}

function isSameRule(one: Resolved, other: Resolved, keyword: string): boolean {
  const names = keyword === 'if' ? ['if', 'then', 'else'] : [keyword]
  return names.every((name) => isSameKeyword(one, other, name))
}

/** Returns whether no value can be valid for two of the schemas. */
function areApart(branches: readonly Located[]): boolean {
  return branches.every((one, i) => branches.slice(i + 1).every((other) => isApart(one, other)))
}

function isApart(one: Located, other: Located): boolean {
  const [a, b] = [flatten([one]), flatten([other])]
  if (!a || !b) return false
  if (a === 'never' || b === 'never') return true
  const both = [...a, ...b]
  if (kindsOf(both).length === 0 || valuesOf(both)?.length === 0) return true
  if (kindsOf(both).some((kind) => kind !== 'object')) return false
  return requiredOf(a).some((name) => {
    if (!requiredOf(b).includes(name)) return false
    const values = flatten(both.flatMap((part) => inside(part, 'properties', name) ?? []))
    if (!values) return false
    return values === 'never' || kindsOf(values).length === 0 || valuesOf(values)?.length === 0
  })
}

function requiredOf(parts: readonly Resolved[]): string[] {
  return parts.flatMap(({ schema }) =>
    Array.isArray(schema['required']) ? schema['required'].map(String) : [],
  )
}
