// The options of `instrument()`.

import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import { type Check, checkOptions, isBoolean, isName } from '../metrics/options.ts'

/** The options of `instrument()`. */
export interface InstrumentOptions {
  /**
   * Where metrics go. Start the SDK first: without this option the global provider counts that is
   * set when `instrument()` is called.
   * @default the global provider
   */
  readonly meterProvider?: MeterProvider | undefined
  /**
   * Where spans go.
   * @default the global provider
   */
  readonly tracerProvider?: TracerProvider | undefined
  /**
   * Whether to measure.
   * @default true
   */
  readonly metrics?: boolean | undefined
  /**
   * Whether handlers of `messages()` run in spans.
   * @default true
   */
  readonly traces?: boolean | undefined
  /**
   * Which pushes, and requests to clients, carry the trace that is active when they are sent: all, or those of these types.
   * Clients see the ids of sampled traces then.
   * @default false
   */
  readonly propagate?: boolean | readonly string[] | undefined
  /**
   * What the field `trace` of a client's message does. `'parent'`: the span belongs to the client's
   * trace, and a parent-based sampler follows the client's decision. `'link'`: the span begins a
   * trace of its own, with a link. `'ignore'`: nothing. Take `'link'` where clients are strangers.
   * @default 'parent'
   */
  readonly clientTrace?: 'parent' | 'link' | 'ignore' | undefined
  /**
   * The value of the attribute `koaws.hub` of metrics, of letters, digits, `.`, `_` and `-`. Hubs of
   * one process need different names.
   * @default no attribute
   */
  readonly name?: string | undefined
  /**
   * Whether upgrades are also measured as `http.server.*`. The HTTP instrumentation of OpenTelemetry
   * does that already.
   * @default false
   */
  readonly http?: boolean | undefined
  /**
   * Whether the event loop is measured as `nodejs.eventloop.*`. The runtime instrumentation of
   * OpenTelemetry does that too.
   * @default true
   */
  readonly runtime?: boolean | undefined
}

/** The options with all defaults. */
export interface ResolvedOptions {
  readonly meterProvider: MeterProvider | undefined
  readonly tracerProvider: TracerProvider | undefined
  readonly metrics: boolean
  readonly traces: boolean
  readonly propagate: boolean | ReadonlySet<string>
  readonly clientTrace: 'parent' | 'link' | 'ignore'
  readonly name: string | undefined
  readonly http: boolean
  readonly runtime: boolean
}

const has =
  (method: string, what: string): Check =>
  (value) =>
    typeof Object(value)[method] === 'function' ? null : `must be a ${what}`

const isTypes: Check = (value) => {
  const isList = Array.isArray(value) && value.every((type) => typeof type === 'string')
  return typeof value === 'boolean' || isList
    ? null
    : 'must be true, false, or an array of the types of messages'
}

const CHECKS: Record<string, Check> = {
  meterProvider: has('getMeter', 'MeterProvider'),
  tracerProvider: has('getTracer', 'TracerProvider'),
  metrics: isBoolean,
  traces: isBoolean,
  propagate: isTypes,
  clientTrace: (value) =>
    value === 'parent' || value === 'link' || value === 'ignore'
      ? null
      : "must be 'parent', 'link' or 'ignore'",
  name: isName,
  http: isBoolean,
  runtime: isBoolean,
}

/** @throws OptionsError for an option that is unknown or wrong */
export function resolveInstrumentOptions(given: InstrumentOptions): ResolvedOptions {
  checkOptions('instrument()', given, CHECKS)
  const { propagate = false } = given
  return {
    meterProvider: given.meterProvider,
    tracerProvider: given.tracerProvider,
    metrics: given.metrics ?? true,
    traces: given.traces ?? true,
    propagate: typeof propagate === 'boolean' ? propagate : new Set(propagate),
    clientTrace: given.clientTrace ?? 'parent',
    name: given.name,
    http: given.http ?? false,
    runtime: given.runtime ?? true,
  }
}
