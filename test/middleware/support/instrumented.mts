// An app in a process of its own, for instrumentation that patches modules: started by
// instrumented-host.ts with the kind of instrumentation as its argument, and told by IPC what to do.
import { createRequire } from 'node:module'
import type { Entry, Host, Place } from './entry.ts'

const load = createRequire(new URL('../../peers/package.json', import.meta.url))

/** What the parent says. */
export type Order =
  | { readonly order: 'start'; readonly name: string; readonly place: Place }
  | { readonly order: 'stop' }

/** What the child answers. */
export type Report =
  | { readonly report: 'ready' | 'stopped' }
  | { readonly report: 'started'; readonly port: number }
  | { readonly report: 'line'; readonly line: string }

function tell(report: Report): void {
  process.send?.(report)
}

interface Span {
  readonly name: string
  readonly kind: number
  readonly attributes: Record<string, unknown>
  spanContext(): { traceId: string }
}

function instrumentOpenTelemetry(): void {
  const { NodeTracerProvider, SimpleSpanProcessor } = load('@opentelemetry/sdk-trace-node')
  const { HttpInstrumentation } = load('@opentelemetry/instrumentation-http')
  const { KoaInstrumentation } = load('@opentelemetry/instrumentation-koa')
  const kinds = ['INTERNAL', 'SERVER', 'CLIENT']
  const exporter = {
    export: (spans: readonly Span[], done: (result: { code: number }) => void) => {
      for (const { name, kind, attributes, ...span } of spans.map(flat)) {
        const status = attributes['http.response.status_code'] ?? attributes['http.status_code']
        const target = attributes['url.path'] ?? attributes['http.target']
        const ended = status === undefined ? '' : ` status ${status} target ${target}`
        tell({
          report: 'line',
          line: `span ${kinds[kind]} "${name}" trace ${span.traceId}${ended}`,
        })
      }
      done({ code: 0 })
    },
    shutdown: async () => {},
  }
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register()
  new HttpInstrumentation()
  new KoaInstrumentation()
}

function flat(span: Span): Omit<Span, 'spanContext'> & { traceId: string } {
  const { name, kind, attributes } = span
  return { name, kind, attributes, traceId: span.spanContext().traceId }
}

interface CapturedEvent {
  readonly exception?: { readonly values?: readonly { readonly value?: string }[] }
  readonly request?: { readonly url?: string }
}

function instrumentSentry(): void {
  load('@sentry/node').init({
    dsn: 'http://public@127.0.0.1:9/1',
    beforeSend: (event: CapturedEvent) => {
      const message = event.exception?.values?.[0]?.value
      tell({ report: 'line', line: `captured: ${message} at ${event.request?.url}` })
      return null
    },
  })
}

if (process.argv[2] === 'opentelemetry') instrumentOpenTelemetry()
else instrumentSentry()

const { Journal, serve } = await import('./serve.ts')
const { entries } = await import('./entries.ts')

let host: Host | null = null

async function start(name: string, place: Place): Promise<void> {
  const entry = entries.find((one) => one.name === name) as Entry
  const journal = new Journal()
  const add = journal.add.bind(journal)
  journal.add = (line) => {
    add(line)
    tell({ report: 'line', line })
  }
  host = await serve(entry, place, journal)
  tell({ report: 'started', port: host.port })
}

async function stop(): Promise<void> {
  await host?.stop()
  host = null
  tell({ report: 'stopped' })
}

process.on('message', (order: Order) => {
  const done = order.order === 'start' ? start(order.name, order.place) : stop()
  done.catch((error: unknown) => {
    throw error
  })
})
process.on('disconnect', () => process.disconnect?.())
tell({ report: 'ready' })
