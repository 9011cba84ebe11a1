import Router from '@koa/router'
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import Koa from 'koa'
import koaWs, { accept, messages } from '../../dist/index.js'
import { instrument } from '../../dist/otel/index.js'
import { metrics } from '../../dist/prometheus/index.js'
import { listening } from './shared.mjs'

/** How often metrics are read, in milliseconds: three times as often as most do. */
const EVERY = 5000
const SAMPLED = 0.01

/** Takes all, and keeps nothing: the cost of sending is that of the exporter. */
const exporter = {
  export: (_data, done) => done({ code: 0 }),
  selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
  forceFlush: async () => {},
  shutdown: async () => {},
}

const forms = {
  none: () => {},
  prometheus(hub) {
    const { registry } = metrics(hub)
    setInterval(() => registry.metrics(), EVERY).unref()
  },
  otel: (hub) => void instrument(hub, { meterProvider: meterProvider(), traces: false }),
  context: () => useContext(),
  traces(hub) {
    useContext()
    const root = new TraceIdRatioBasedSampler(SAMPLED)
    const tracerProvider = new TracerProvider({
      sampler: new ParentBasedSampler({ root }),
      spanProcessors: [new BatchSpanProcessor({ exporter })],
    })
    instrument(hub, { meterProvider: meterProvider(), tracerProvider, propagate: true })
  },
}

/** What a traced application has before koaws: Node follows the context of each piece of work. */
function useContext() {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  context.with(context.active(), () => {})
}

function meterProvider() {
  const reader = new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: EVERY,
    exportTimeoutMillis: EVERY / 2,
  })
  return new MeterProvider({ readers: [reader] })
}

export function start({ form }) {
  const app = new Koa()
  const router = new Router()
  const hub = koaWs({ flood: false })
  const room = hub.room('lobby')
  const chat = messages()
    .onOpen((connection) => connection.join('lobby'))
    .on('say', ({ data }) => {
      room.push('said', data)
    })
    .on('echo', ({ data }) => data)
  forms[form](hub)
  app.use(hub)
  app.use(router.get('/room/:id', accept(chat)).routes())
  const server = app.listen(0, '127.0.0.1')
  hub.attach(server)
  return listening(server)
}
