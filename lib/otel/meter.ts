// Gives the metrics of a hub to OpenTelemetry.

import type { BatchObservableResult, Meter, MetricOptions, Observable } from '@opentelemetry/api'
import type { Collector } from '../metrics/collector.ts'
import type { Attributes } from '../metrics/family.ts'
import type { Instrument } from '../metrics/instrument.ts'
import { instruments } from '../metrics/table.ts'

/** The attribute with the name of the hub. */
const HUB = 'koaws.hub'

/**
 * Makes an instrument for each row of the table. Sums and gauges are read when the SDK collects;
 * each value of a histogram is recorded at once, because OpenTelemetry has no other way.
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
      const all = named(attributes)
      return (value) => histogram.record(value, all)
    })
    undo.push(() => family.recordWith(null))
  }
  const all = [...observables.values()]
  const collect = (result: BatchObservableResult): void => {
    collector.read()
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
