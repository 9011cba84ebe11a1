// The families of all instruments, by name.

import { Family, HistogramFamily, type Series } from './family.ts'
import { instruments } from './table.ts'

/** One family for each instrument of the table. */
export class Families {
  readonly #sums = new Map<string, Family>()
  readonly #histograms = new Map<string, HistogramFamily>()

  constructor() {
    for (const instrument of instruments) {
      const { name, kind } = instrument
      if (kind === 'histogram') this.#histograms.set(name, new HistogramFamily(instrument))
      else this.#sums.set(name, new Family(instrument))
    }
  }

  /** Returns the family of a counter or a gauge. */
  sum(name: string): Family {
    return found(this.#sums, name)
  }

  /** Returns the only series of a counter or a gauge without attributes. */
  one(name: string): Series {
    return this.sum(name).at()
  }

  histogram(name: string): HistogramFamily {
    return found(this.#histograms, name)
  }

  /** Returns whether the instrument is a counter or a gauge. */
  has(name: string): boolean {
    return this.#sums.has(name)
  }
}

function found<F>(families: ReadonlyMap<string, F>, name: string): F {
  const family = families.get(name)
  if (family === undefined) throw new Error(`no instrument ${name}`)
  return family
}
