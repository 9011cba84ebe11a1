// Compares the rules of objects in two schemas.
import { accepts } from './accepts.ts'
import { isFields, member, stringsOf } from './fields.ts'
import { say } from './gaps.ts'
import { inside, isSameKeyword, type Located, type Resolved } from './located.ts'
import { boundGaps } from './scalars.ts'
import type { Reporter, Sent } from './sent.ts'

/** Keywords that may name fields, in a way that is not followed here. */
const OTHER_FIELDS = ['patternProperties', 'if', 'dependencies', 'dependentSchemas', 'not']

/** The rules of objects of one schema, compared with those of another. */
export class ObjectRules {
  readonly #sent: Sent
  readonly #target: Resolved
  readonly #reporter: Reporter
  /** The fields that the sender names. */
  readonly #names: ReadonlySet<string>
  /** What the sender may send under other names; null: it sends no others. */
  readonly #rest: readonly Located[] | null

  constructor(sent: Sent, target: Resolved, reporter: Reporter) {
    this.#sent = sent
    this.#target = target
    this.#reporter = reporter
    const { parts } = sent
    const names = parts.flatMap(({ schema }) => [
      ...Object.keys(isFields(schema['properties']) ? schema['properties'] : {}),
      ...stringsOf(schema['required']),
    ])
    const rules = parts.flatMap((part) => inside(part, 'propertyNames') ?? [])
    this.#names = new Set(
      names.filter((name) => rules.every((rule) => accepts(name, rule) !== false)),
    )
    const rest = parts.flatMap((part) => inside(part, 'additionalProperties') ?? [])
    const unknown = parts.some(({ schema }) =>
      OTHER_FIELDS.some((one) => Object.hasOwn(schema, one)),
    )
    const named = parts.some(({ schema }) => isFields(schema['properties']))
    const none = rest.some(({ schema }) => schema === false)
    this.#rest = none || (named && rest.length === 0 && !unknown) ? null : rest
  }

  compare(): void {
    const all = [...this.#sent.parts, this.#target]
    if (all.some(({ schema }) => schema['patternProperties'] !== undefined)) {
      this.#compareWhole()
      return
    }
    this.#compareRequired()
    this.#compareFields()
    this.#compareNames()
  }

  /** The names of patterns may overlap: only the same rules can be judged. */
  #compareWhole(): void {
    const names = ['properties', 'patternProperties', 'additionalProperties', 'required']
    const rules = [...names, 'propertyNames', 'minProperties', 'maxProperties']
    const same = this.#sent.parts.some((part) =>
      rules.every((name) => isSameKeyword(part, this.#target, name)),
    )
    if (!same) this.#reporter.report(say.changed('patternProperties'), this.#sent.at, false)
  }

  #compareRequired(): void {
    const required = new Set(
      this.#sent.parts.flatMap(({ schema }) => stringsOf(schema['required'])),
    )
    for (const name of stringsOf(this.#target.schema['required'])) {
      if (!required.has(name)) this.#report(say.required(this.#reporter.side, name))
    }
    boundGaps(this.#sent, this.#target, this.#reporter, ['minProperties', 'maxProperties'], {
      least: required.size,
      ...(this.#rest === null && { most: this.#names.size }),
    })
  }

  #compareFields(): void {
    const { side } = this.#reporter
    const descend = (subs: readonly Located[], sup: Located): void =>
      this.#reporter.descend(subs, sup)
    const known = member(this.#target.schema, 'properties')
    const others = inside(this.#target, 'additionalProperties')
    for (const name of Object.keys(isFields(known) ? known : {})) {
      const sup = inside(this.#target, 'properties', name)
      if (!sup) continue
      if (this.#names.has(name) || this.#rest !== null) descend(this.#fieldsAt(name), sup)
      else if (side === 'output' && this.#sent.alone) this.#report(say.removed(name))
    }
    if (!others || others.schema === true) return
    for (const name of this.#names) {
      if (member(known, name) !== undefined) continue
      if (others.schema === false) this.#strange(name)
      else descend(this.#fieldsAt(name), others)
    }
    if (this.#rest === null) return
    if (others.schema === false) this.#report(say.open(side))
    else descend(this.#rest, others)
  }

  /** A field that the receiver does not allow, unless no value of the sender has it. */
  #strange(name: string): void {
    if (this.#fieldsAt(name).some(({ schema }) => schema === false)) return
    this.#report(say.strange(this.#reporter.side, name))
  }

  /** What the sender may send in a field. */
  #fieldsAt(name: string): Located[] {
    return this.#sent.parts.flatMap(
      (part) => inside(part, 'properties', name) ?? inside(part, 'additionalProperties') ?? [],
    )
  }

  #compareNames(): void {
    const rule = inside(this.#target, 'propertyNames')
    if (!rule) return
    for (const name of this.#names) {
      const verdict = accepts(name, rule)
      if (verdict === false) this.#strange(name)
      else if (verdict === null)
        this.#reporter.report(say.changed('propertyNames'), this.#sent.at, false)
    }
    if (this.#rest === null) return
    const text: Located = { schema: { type: 'string' }, at: this.#sent.at, root: null }
    const names = this.#sent.parts.flatMap((part) => inside(part, 'propertyNames') ?? [])
    this.#reporter.descend([text, ...names], rule)
  }

  #report(message: string): void {
    this.#reporter.report(message, this.#sent.at)
  }
}
