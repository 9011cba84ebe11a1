// The values of one instrument, by their attributes.

import type { Instrument } from './instrument.ts'

/** The value of attributes that are beyond a bound; the name is OpenTelemetry's. */
export const OTHER = '_OTHER'

/** The most series of one instrument; further ones count under {@link OTHER}. */
export const MOST_SERIES = 1000

/** Attributes with their values; one without a value is left out. */
export type Attributes = Readonly<Record<string, string>>

/** The sum or the present value for one set of attributes. */
export class Series {
  readonly attributes: Attributes
  value = 0

  constructor(attributes: Attributes) {
    this.attributes = attributes
  }
}

/** Hears each value of a distribution. */
export type Recorder = (value: number) => void

/** The distribution for one set of attributes. */
export class Distribution {
  readonly attributes: Attributes
  /** The number of values in each bucket; the last bucket has no upper boundary. */
  readonly buckets: number[]
  sum = 0
  count = 0
  recorder: Recorder | null = null
  readonly #boundaries: readonly number[]

  constructor(attributes: Attributes, boundaries: readonly number[]) {
    this.attributes = attributes
    this.#boundaries = boundaries
    this.buckets = new Array<number>(boundaries.length + 1).fill(0)
  }

  record(value: number): void {
    const boundaries = this.#boundaries
    let i = 0
    while (i < boundaries.length && value > (boundaries[i] ?? 0)) i++
    this.buckets[i] = (this.buckets[i] ?? 0) + 1
    this.sum += value
    this.count++
    if (this.recorder !== null) this.recorder(value)
  }
}

/** What both kinds of families do: find the series of attributes, and bound their number. */
abstract class Keyed<S> {
  readonly instrument: Instrument
  readonly #series = new Map<string, S>()

  constructor(instrument: Instrument) {
    this.instrument = instrument
  }

  protected abstract create(attributes: Attributes): S

  /**
   * Returns the series for these values, in the order of the instrument's attributes. An empty
   * value is an attribute that is not set. Beyond {@link MOST_SERIES} it is the series in which all
   * values are {@link OTHER}.
   */
  at(...values: readonly string[]): S {
    const key = values.join('\0')
    const known = this.#series.get(key)
    if (known !== undefined) return known
    if (this.#series.size < MOST_SERIES) return this.#add(key, values)
    const others = values.map(() => OTHER)
    return this.#series.get(others.join('\0')) ?? this.#add(others.join('\0'), others)
  }

  all(): Iterable<S> {
    return this.#series.values()
  }

  #add(key: string, values: readonly string[]): S {
    const names = this.instrument.attributes
    const pairs = values.map((value, i) => [names[i] ?? '', value] as const)
    const made = this.create(Object.fromEntries(pairs.filter(([, value]) => value !== '')))
    this.#series.set(key, made)
    return made
  }
}

/** The series of a counter or a gauge. */
export class Family extends Keyed<Series> {
  protected override create(attributes: Attributes): Series {
    return new Series(attributes)
  }
}

/** The series of a histogram. */
export class HistogramFamily extends Keyed<Distribution> {
  #recorderOf: ((attributes: Attributes) => Recorder) | null = null

  /** Sets what hears the values of each distribution; null for nothing. One exporter at a time. */
  recordWith(recorderOf: ((attributes: Attributes) => Recorder) | null): void {
    this.#recorderOf = recorderOf
    for (const one of this.all()) one.recorder = recorderOf?.(one.attributes) ?? null
  }

  protected override create(attributes: Attributes): Distribution {
    const made = new Distribution(attributes, this.instrument.boundaries)
    made.recorder = this.#recorderOf?.(attributes) ?? null
    return made
  }
}
