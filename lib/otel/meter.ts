// Gives the metrics of a hub to OpenTelemetry.

import {
  type BatchObservableResult,
  type Histogram,
  type Meter,
  type MetricOptions,
  type Observable,
  ROOT_CONTEXT,
} from '@opentelemetry/api'
import type { Collector } from '../metrics/collector.ts'
import type { Attributes } from '../metrics/family.ts'
import type { Instrument } from '../metrics/instrument.ts'
import { instruments } from '../metrics/table.ts'

/** The attribute with the name of the hub. */
const HUB = 'koaws.hub'

/** The most values of one series that wait to be recorded. */
const MOST_WAITING = 500

/**
 * Makes an instrument for each row of the table. Sums and gauges are read when the SDK collects.
 * OpenTelemetry takes the values of a histogram one by one. They wait until the SDK collects, or
 * until there are {@link MOST_WAITING}: in one loop, recording costs less than between other work.
 *
 * @returns a function that undoes it
 */
export function exportMetrics(
  meter: Meter,
  collector: Collector,
  hub: string | undefined,
): () => void {
  const named = attributesWith(hub)
  const observables = new Map<string, Observable>()
  const undo: (() => void)[] = []
  const waiting = new Set<() => void>()
  const recordWaiting = (): void => {
    for (const record of waiting) record()
  }
  undo.push(recordWaiting)
  for (const instrument of instruments) {
    const { name, kind } = instrument
    if (!collector.includes(name)) continue
    if (kind !== 'histogram') {
      observables.set(name, observableOf(meter, instrument))
      continue
    }
    const histogram = meter.createHistogram(name, {
      ...optionsOf(instrument),
      advice: { explicitBucketBoundaries: [...instrument.boundaries] },
    })
    const family = collector.observer.families.histogram(name)
    family.recordWith((attributes) => {
      const { add, record } = held(histogram, named(attributes))
      waiting.add(record)
      return add
    })
    undo.push(() => family.recordWith(null))
  }
  const all = [...observables.values()]
  const collect = (result: BatchObservableResult): void => {
    collector.read()
    recordWaiting()
    for (const [name, observable] of observables) {
      for (const family of collector.familiesOf(name)) {
        for (const { attributes, value } of family.all()) {
          result.observe(observable, value, named(attributes))
        }
      }
    }
    // The hub has closed: this was the last reading.
    if (collector.isFinal) meter.removeBatchObservableCallback(collect, all)
  }
  meter.addBatchObservableCallback(collect, all)
  undo.push(() => meter.removeBatchObservableCallback(collect, all))
  return () => {
    for (const one of undo) one()
  }
}

/** Keeps values of one series until they are recorded. */
function held(
  histogram: Histogram,
  attributes: Attributes,
): { add: (value: number) => void; record: () => void } {
  const values: number[] = []
  const record = (): void => {
    for (const value of values) histogram.record(value, attributes, ROOT_CONTEXT)
    values.length = 0
  }
  const add = (value: number): void => {
    if (values.push(value) >= MOST_WAITING) record()
  }
  return { add, record }
}

function observableOf(meter: Meter, instrument: Instrument): Observable {
  const { name, kind } = instrument
  const options = optionsOf(instrument)
  if (kind === 'counter') return meter.createObservableCounter(name, options)
  if (kind === 'gauge') return meter.createObservableGauge(name, options)
  return meter.createObservableUpDownCounter(name, options)
}

function optionsOf({ unit, description }: Instrument): MetricOptions {
  return { unit, description }
}

/** Returns a function that adds the name of the hub, if it has one, and keeps the result. */
function attributesWith(hub: string | undefined): (attributes: Attributes) => Attributes {
  if (hub === undefined) return (attributes) => attributes
  const made = new WeakMap<Attributes, Attributes>()
  return (attributes) => {
    const known = made.get(attributes)
    if (known !== undefined) return known
    const all = { ...attributes, [HUB]: hub }
    made.set(attributes, all)
    return all
  }
}
