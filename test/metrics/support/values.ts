import type { Observer } from '../../../lib/metrics/observer.ts'

/** Returns the value of one series: that of these attributes, in the order of the table. */
export function valueIn({ families }: Observer, name: string, ...values: string[]): number {
  return families.sum(name).at(...values).value
}

/** Returns all series of an instrument: sums, or the counts of a histogram, by attributes. */
export function sumsOf({ families }: Observer, name: string): Record<string, number> {
  const { attributes: order } = (families.has(name) ? families.sum(name) : families.histogram(name))
    .instrument
  const keyOf = (attributes: Readonly<Record<string, string>>): string =>
    order
      .filter((key) => key in attributes)
      .map((key) => `${key}=${attributes[key]}`)
      .join(',')
  const pairs: [string, number][] = families.has(name)
    ? [...families.sum(name).all()].map((one) => [keyOf(one.attributes), one.value])
    : [...families.histogram(name).all()].map((one) => [keyOf(one.attributes), one.count])
  return Object.fromEntries(pairs)
}
