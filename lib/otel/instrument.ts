// Connects a hub with OpenTelemetry.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { metrics as metricsApi, trace as traceApi } from '@opentelemetry/api'
import { type ConnectionEvent, OptionsError, type ShutdownEvent } from '../index.ts'
import { Collector } from '../metrics/collector.ts'
import { checkHub, type ObservedHub } from '../metrics/hub.ts'
import { exportMetrics } from './meter.ts'
import {
  type InstrumentOptions,
  type ResolvedOptions,
  resolveInstrumentOptions,
} from './options.ts'
import { HubTracer } from './tracer.ts'

/** The name of the instrumentation scope. */
const SCOPE = 'koaws'

/** The hubs that are instrumented now, by name. */
const instrumented = new Map<string | undefined, ObservedHub>()

/**
 * Measures a hub, and runs the handlers of its messages in spans, with the official API of
 * OpenTelemetry. Start the SDK before; without one nothing is measured and nothing is written.
 * Everything ends with `hub.close()`: the SDK reads the metrics once more after that.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs from 'koaws'
 * import { instrument } from 'koaws/otel'
 *
 * const app = new Koa()
 * const hub = koaWs()
 * app.use(hub)
 * const stop = instrument(hub, { propagate: ['said'] })
 *
 * stop() // or hub.close()
 * console.log(typeof stop) // function
 * ```
 *
 * @param hub the return value of `koaWs()`
 * @param options all optional
 * @returns a function that undoes it: subscriptions, callbacks, and `hub.trace()`. Idempotent
 * @throws OptionsError when the hub is closed or instrumented already, for an option that is unknown or wrong,
 * and for a name that another hub of the process has
 */
export function instrument(hub: ObservedHub, options: InstrumentOptions = {}): () => void {
  checkHub('instrument()', hub)
  const resolved = resolveInstrumentOptions(options)
  checkNew(hub, resolved.name)
  const undo = [
    ...(resolved.metrics ? [measure(hub, resolved)] : []),
    ...(resolved.traces || resolved.propagate !== false ? [follow(hub, resolved)] : []),
  ]
  instrumented.set(resolved.name, hub)
  let isStopped = false
  const release = atEnd(hub, () => {
    if (instrumented.get(resolved.name) === hub) instrumented.delete(resolved.name)
  })
  return () => {
    if (isStopped) return
    isStopped = true
    for (const one of undo) one()
    release()
  }
}

/** Calls `fn` once: when the hub has closed, or when the returned function is called. */
function atEnd(hub: ObservedHub, fn: () => void): () => void {
  const { id } = hub.status()
  let isDone = false
  const done = (): void => {
    if (isDone) return
    isDone = true
    unsubscribe('koaws:shutdown', ended)
    fn()
  }
  const ended = (event: unknown): void => {
    const { instance, stage } = event as ShutdownEvent
    // Later: a channel skips a subscriber when another one unsubscribes during an event.
    if (instance === id && stage === 'end') queueMicrotask(done)
  }
  subscribe('koaws:shutdown', ended)
  return done
}

/** @throws OptionsError for a second call */
function checkNew(hub: ObservedHub, name: string | undefined): void {
  if ([...instrumented.values()].includes(hub)) {
    throw new OptionsError(
      'instrument() was called twice for one hub. Call the function that the first call returned, then again.',
    )
  }
  if (!instrumented.has(name)) return
  const other = name === undefined ? 'no name as well' : `the name "${name}"`
  throw new OptionsError(`instrument(): another hub has ${other}. Give each its own option "name".`)
}

function measure(
  hub: ObservedHub,
  { meterProvider, name, http, runtime }: ResolvedOptions,
): () => void {
  const meter = (meterProvider ?? metricsApi.getMeterProvider()).getMeter(SCOPE)
  const collector = new Collector(hub, { http, runtime })
  const undo = exportMetrics(meter, collector, name)
  return () => {
    undo()
    collector.stop()
  }
}

function follow(hub: ObservedHub, options: ResolvedOptions): () => void {
  const provider = options.tracerProvider ?? traceApi.getTracerProvider()
  const tracer = new HubTracer(provider.getTracer(SCOPE), options)
  const accepted = (event: unknown): void => {
    const { connection } = event as ConnectionEvent
    if (typeof connection === 'object' && connection !== null) tracer.accepted(connection)
  }
  subscribe('koaws:connection', accepted)
  hub.trace(tracer)
  return atEnd(hub, () => {
    unsubscribe('koaws:connection', accepted)
    hub.trace(null)
  })
}
