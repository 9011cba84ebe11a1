// The shape of an instrument, and its name in Prometheus.

/** One thing that is measured. `lib/metrics/table.ts` has all of them. */
export interface Instrument {
  /** The name in OpenTelemetry. */
  readonly name: string
  /**
   * `counter`: a sum that only grows. `updowncounter`: a sum that also falls, and adds up over
   * instances. `gauge`: a value that does not add up. `histogram`: a distribution.
   */
  readonly kind: 'counter' | 'updowncounter' | 'gauge' | 'histogram'
  /** The unit in UCUM: `s`, `By`, `1`, or an annotation such as `{message}`. */
  readonly unit: string
  /** The names of the attributes. */
  readonly attributes: readonly string[]
  /**
   * `stable`: the name is of a stable semantic convention of OpenTelemetry. `development`: it is of
   * a convention in development, or of koaws, and may change in a minor version.
   */
  readonly stability: 'stable' | 'development'
  readonly description: string
  /** The upper boundaries of the buckets of a histogram. */
  readonly boundaries: readonly number[]
}

/** The words that Prometheus adds for a unit. */
const UNITS: Readonly<Record<string, string>> = { s: 'seconds', By: 'bytes' }

/** Returns the name that OpenTelemetry's Prometheus exporters give to an instrument. */
export function prometheusName({ name, kind, unit }: Instrument): string {
  const parts = [name.replaceAll('.', '_')]
  const word = unit === '1' && kind === 'gauge' ? 'ratio' : UNITS[unit]
  if (word !== undefined) parts.push(word)
  if (kind === 'counter') parts.push('total')
  return parts.join('_')
}

/** Returns the name of an attribute as a label of Prometheus. */
export function labelName(attribute: string): string {
  return attribute.replaceAll('.', '_')
}
