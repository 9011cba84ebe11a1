// Builds the rows of the table of instruments.

import type { Instrument } from './instrument.ts'

/** The boundaries that the conventions name for durations of requests, in seconds. */
export const DURATIONS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]
/** Boundaries for the life of a connection, in seconds: a second to a day. */
export const LIFETIMES: readonly number[] = [1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400]
/** Boundaries for numbers of connections or messages. */
export const COUNTS: readonly number[] = [0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 10_000]

/** Makes a row: name, unit, attributes, description. */
type Define = (
  name: string,
  unit: string,
  attributes: readonly string[],
  description: string,
) => Instrument

const row =
  (kind: Instrument['kind'], stability: Instrument['stability'] = 'development'): Define =>
  (name, unit, attributes, description) => ({
    name,
    kind,
    unit,
    attributes,
    stability,
    description,
    boundaries: [],
  })

export const counter: Define = row('counter')
export const upDownCounter: Define = row('updowncounter')
export const gauge: Define = row('gauge')

/** Makes a row of a histogram with these boundaries. */
export function histogram(
  boundaries: readonly number[],
  stability: Instrument['stability'] = 'development',
): Define {
  const define = row('histogram', stability)
  return (name, unit, attributes, description) => ({
    ...define(name, unit, attributes, description),
    boundaries,
  })
}
