// Compares the rules of arrays in two schemas.
import { itemAt } from './accepts.ts'
import { say } from './gaps.ts'
import { inside, isSameKeyword, type Located, type Resolved } from './located.ts'
import { boundGaps } from './scalars.ts'
import type { Reporter, Sent } from './sent.ts'

/** The rules of arrays of one schema, compared with those of another. */
export class ArrayRules {
  readonly #sent: Sent
  readonly #target: Resolved
  readonly #reporter: Reporter

  constructor(sent: Sent, target: Resolved, reporter: Reporter) {
    this.#sent = sent
    this.#target = target
    this.#reporter = reporter
  }

  compare(): void {
    const { parts, at } = this.#sent
    const { side } = this.#reporter
    boundGaps(this.#sent, this.#target, this.#reporter, ['minItems', 'maxItems'], {
      most: Math.min(...parts.map(lengthOf)),
    })
    const unique = this.#target.schema['uniqueItems']
    if (unique === true && !parts.some(({ schema }) => schema['uniqueItems'] === true))
      this.#reporter.report(say.limit(side, 'uniqueItems', true, undefined), at)
    const all = [...parts, this.#target]
    const prefixed = all.some(({ schema }) => schema['prefixItems'] !== undefined)
    if (prefixed) this.#comparePrefixed()
    else this.#compareItems(all)
  }

  /** `items` means the rest beside `prefixItems`: only the same rules can be judged. */
  #comparePrefixed(): void {
    const rules = ['prefixItems', 'items', 'additionalItems']
    const same = this.#sent.parts.some((part) =>
      rules.every((name) => isSameKeyword(part, this.#target, name)),
    )
    if (!same) this.#reporter.report(say.changed('prefixItems'), this.#sent.at, false)
  }

  #compareItems(all: readonly Resolved[]): void {
    const places = Math.max(0, ...all.map(({ schema }) => tupleOf(schema['items']).length))
    const most = Math.min(
      ...this.#sent.parts.map(({ schema }) =>
        Number(schema['maxItems'] ?? Number.POSITIVE_INFINITY),
      ),
    )
    for (let i = 0; i <= places && i < most; i++) {
      const sup = itemAt(this.#target, i)
      if (sup) this.#reporter.descend(this.#itemsAt(i), sup)
    }
  }

  #itemsAt(index: number): Located[] {
    return this.#sent.parts.flatMap((part) => itemAt(part, index) ?? [])
  }
}

function tupleOf(items: unknown): readonly unknown[] {
  return Array.isArray(items) ? items : []
}

/** Returns the most items of a tuple that allows no others. */
function lengthOf(one: Resolved): number {
  const { items } = one.schema
  const closed = inside(one, 'additionalItems')?.schema === false
  return Array.isArray(items) && closed ? items.length : Number.POSITIVE_INFINITY
}
