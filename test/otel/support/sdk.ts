import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { context, propagation, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { parseTraceparent } from '../../../lib/otel/traceparent.ts'

/** The real SDK, which keeps what it would export. */
export interface Sdk {
  readonly meterProvider: MeterProvider
  readonly tracerProvider: TracerProvider
  /** Collects, and returns the metrics by name. */
  metrics(): Promise<Map<string, MetricData>>
  /** The spans that have ended. */
  spans(): ReadableSpan[]
  /** Sends all off, and removes the context manager. */
  stop(): Promise<void>
}

/** Starts the SDK with a context manager, as an application does. @param sampler of spans; all without one */
export function startSdk(sampler?: Sampler): Sdk {
  const manager = new AsyncLocalStorageContextManager().enable()
  context.setGlobalContextManager(manager)
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const spanExporter = new InMemorySpanExporter()
  const tracerProvider = new TracerProvider({
    spanProcessors: [new SimpleSpanProcessor({ exporter: spanExporter })],
    ...(sampler && { sampler }),
  })
  return {
    meterProvider,
    tracerProvider,
    async metrics() {
      exporter.reset()
      await reader.forceFlush()
      const scopes = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
      const all = scopes.flatMap(({ metrics }) => metrics)
      return new Map(all.map((metric) => [metric.descriptor.name, metric]))
    },
    spans: () => spanExporter.getFinishedSpans(),
    async stop() {
      await meterProvider.shutdown()
      await tracerProvider.shutdown()
      context.disable()
      trace.disable()
      propagation.disable()
    },
  }
}

/** Runs each request of a server in a span, as the HTTP instrumentation of OpenTelemetry does. */
export function traceRequests(server: Server, provider: TracerProvider): void {
  const tracer = provider.getTracer('http')
  const emit = server.emit.bind(server)
  server.emit = (name: string, ...values: unknown[]) => {
    if (name !== 'request') return emit(name, ...values)
    const { method, headers } = values[0] as IncomingMessage
    const remote = parseTraceparent(String(headers['traceparent'] ?? ''))
    const parent = remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT
    const span = tracer.startSpan(String(method), { kind: SpanKind.SERVER }, parent)
    ;(values[1] as ServerResponse).once('finish', () => span.end())
    return context.with(trace.setSpan(parent, span), () => emit(name, ...values))
  }
}

/** Returns the values of a metric: sums, or the counts of a histogram, by attributes. */
export function pointsOf(metric: MetricData | undefined): Record<string, number> {
  const points = (metric?.dataPoints ?? []) as DataPoint<number | Histogram>[]
  return Object.fromEntries(
    points.map(({ attributes, value }) => {
      const key = Object.entries(attributes)
        .map(([name, one]) => `${name}=${one}`)
        .sort()
        .join(',')
      return [key, typeof value === 'number' ? value : value.count]
    }),
  )
}
