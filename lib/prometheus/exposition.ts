// The metrics of all hubs of one registry, in the form that prom-client prints.

import type { Metric, Registry } from 'prom-client'
import { OptionsError } from '../index.ts'
import type { Collector } from '../metrics/collector.ts'
import type { Attributes, Distribution } from '../metrics/family.ts'
import { type Instrument, labelName, prometheusName } from '../metrics/instrument.ts'
import { instruments } from '../metrics/table.ts'

type Labels = Record<string, string | number>

interface Value {
  readonly labels: Labels
  readonly value: number
  readonly metricName?: string
}

/** A registry with either content type. */
export type AnyRegistry = Pick<
  Registry,
  'registerMetric' | 'getSingleMetric' | 'removeSingleMetric' | 'metrics'
> & { readonly contentType: string }

/** The attribute with the name of the hub. */
const HUB = 'koaws_hub'

/** Types of Prometheus: a sum that falls is a gauge there. */
const TYPES = {
  counter: 'counter',
  updowncounter: 'gauge',
  gauge: 'gauge',
  histogram: 'histogram',
} as const

/** One instrument of all hubs of a registry, with the members that prom-client reads. */
class ExposedMetric {
  /** prom-client changes it for OpenMetrics. */
  name: string
  readonly help: string
  readonly type: (typeof TYPES)[keyof typeof TYPES]
  /** How the primary of `node:cluster` merges the workers. */
  readonly aggregator: 'sum' | 'max'
  readonly #instrument: Instrument
  readonly #exposition: Exposition

  constructor(instrument: Instrument, exposition: Exposition) {
    this.name = prometheusName(instrument)
    this.help = instrument.description
    this.type = TYPES[instrument.kind]
    this.aggregator = instrument.kind === 'gauge' ? 'max' : 'sum'
    this.#instrument = instrument
    this.#exposition = exposition
  }

  async get(): Promise<object> {
    const { name, help, type, aggregator } = this
    const values = this.#exposition.valuesOf(this.#instrument)
    return { name, help, type, aggregator, values }
  }

  /** Nothing: the values are those of the hub. */
  reset(): void {}
}

/** The hubs of one registry. Their metrics are registered while there is a hub. */
export class Exposition {
  readonly #registry: AnyRegistry
  readonly #hubs = new Map<string, Collector>()
  #metrics: readonly ExposedMetric[] = []
  #isRead = false

  constructor(registry: AnyRegistry) {
    this.#registry = registry
  }

  /**
   * Adds a hub; it takes the place of a closed one with its name.
   *
   * @throws OptionsError when the name is taken, or the registry has a metric with a name of
   * koaws
   */
  add(hub: string, collector: Collector): void {
    const former = this.#hubs.get(hub)
    if (former && !former.observer.hasEnded) {
      throw new OptionsError(
        `metrics(): the registry has a hub "${hub}" already. Give each hub its own option "name".`,
      )
    }
    former?.stop()
    if (this.#hubs.size === 0) this.#register(collector)
    this.#hubs.set(hub, collector)
  }

  remove(hub: string, collector: Collector): void {
    if (this.#hubs.get(hub) === collector) this.#hubs.delete(hub)
    if (this.#hubs.size > 0) return
    for (const { name } of this.#metrics) this.#registry.removeSingleMetric(name)
    this.#metrics = []
  }

  /** Returns the present values of an instrument. */
  valuesOf(instrument: Instrument): Value[] {
    this.#readOnce()
    const name = prometheusName(instrument)
    const values: Value[] = []
    for (const [hub, collector] of this.#hubs) {
      if (!collector.includes(instrument.name)) continue
      for (const family of collector.familiesOf(instrument.name)) {
        for (const { attributes, value } of family.all()) {
          values.push({ labels: labelsOf(hub, attributes), value })
        }
      }
      if (instrument.kind !== 'histogram') continue
      const { boundaries } = instrument
      for (const distribution of collector.observer.families.histogram(instrument.name).all()) {
        values.push(...linesOf(name, hub, boundaries, distribution))
      }
    }
    return values
  }

  /** Reads the hubs once for each scrape: prom-client asks for all metrics in one turn. */
  #readOnce(): void {
    if (this.#isRead) return
    this.#isRead = true
    queueMicrotask(() => {
      this.#isRead = false
    })
    for (const collector of this.#hubs.values()) collector.read()
  }

  #register(collector: Collector): void {
    const metrics = instruments
      .filter(({ name }) => collector.includes(name))
      .map((instrument) => new ExposedMetric(instrument, this))
    const taken = metrics.find(({ name }) => this.#registry.getSingleMetric(name) !== undefined)
    if (taken) {
      const advice = taken.name.startsWith('koaws')
        ? 'Pass another registry.'
        : 'Pass another registry, or leave the metric out with the option "http" or "runtime".'
      throw new OptionsError(
        `metrics(): the registry has a metric "${taken.name}" already. ${advice}`,
      )
    }
    for (const metric of metrics) this.#registry.registerMetric(metric as unknown as Metric)
    this.#metrics = metrics
  }
}

function labelsOf(hub: string, attributes: Attributes): Labels {
  const labels: Labels = { [HUB]: hub }
  for (const [name, value] of Object.entries(attributes)) labels[labelName(name)] = value
  return labels
}

/** Returns the lines of a histogram: each bucket includes the smaller ones. */
function* linesOf(
  name: string,
  hub: string,
  boundaries: readonly number[],
  { attributes, buckets, sum, count }: Distribution,
): Generator<Value> {
  const labels = labelsOf(hub, attributes)
  let total = 0
  for (const [i, boundary] of boundaries.entries()) {
    total += buckets[i] ?? 0
    yield { labels: { ...labels, le: boundary }, value: total, metricName: `${name}_bucket` }
  }
  yield { labels: { ...labels, le: '+Inf' }, value: count, metricName: `${name}_bucket` }
  yield { labels, value: sum, metricName: `${name}_sum` }
  yield { labels, value: count, metricName: `${name}_count` }
}

const expositions = new WeakMap<object, Exposition>()

/** Returns the hubs of a registry. */
export function expositionOf(registry: AnyRegistry): Exposition {
  const known = expositions.get(registry)
  if (known !== undefined) return known
  const made = new Exposition(registry)
  expositions.set(registry, made)
  return made
}
