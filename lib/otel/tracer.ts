// Runs handlers and requests to clients in spans, and gives messages the active trace.

import {
  type Attributes,
  type Context,
  context,
  type Link,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import type { TracedMessage, TracedRequest, TraceFields, Tracer } from '../index.ts'
import { SYSTEM } from '../metrics/message-counts.ts'
import type { ResolvedOptions } from './options.ts'
import { fieldsOfContext, parseTraceparent } from './traceparent.ts'

/** The longest `error.type`, in characters. */
const LONGEST = 100
/** The most types of each kind for which the attributes are kept. */
const MOST_TYPES = 200

/** What all spans of one type of message have. */
interface SpanOfType {
  readonly name: string
  readonly kind: SpanKind
  readonly attributes: Attributes
}

/**
 * Follows messages. A span has no data of the message, no message of an error, and nothing of the
 * connection but a link to the span of its upgrade.
 */
export class HubTracer implements Tracer {
  readonly #tracer: OtelTracer
  readonly #options: Pick<ResolvedOptions, 'propagate' | 'clientTrace' | 'traces'>
  /** Links to the span in which a connection was accepted. */
  readonly #upgrades = new WeakMap<object, Link[]>()
  readonly #requests = new SpanKinds((type) => callSpan(SpanKind.SERVER, type))
  readonly #notes = new SpanKinds(consumerSpan)
  readonly #asked = new SpanKinds((type) => callSpan(SpanKind.CLIENT, type))

  constructor(
    tracer: OtelTracer,
    options: Pick<ResolvedOptions, 'propagate' | 'clientTrace' | 'traces'>,
  ) {
    this.#tracer = tracer
    this.#options = options
  }

  /** A connection was accepted, in the context of its upgrade. */
  accepted(connection: object): void {
    const upgrade = trace.getSpanContext(context.active())
    if (upgrade && trace.isSpanContextValid(upgrade)) {
      this.#upgrades.set(connection, [{ context: upgrade }])
    }
  }

  handle(message: TracedMessage, next: () => unknown): unknown {
    if (!this.#options.traces) return next()
    const { type, isRequest } = message
    const about = (isRequest ? this.#requests : this.#notes).of(type)
    return this.#inSpan(about, this.#linksOf(message), this.#parentOf(message), next)
  }

  async request(
    { connection, type }: TracedRequest,
    send: () => Promise<unknown>,
  ): Promise<unknown> {
    if (!this.#options.traces) return send()
    return this.#inSpan(this.#asked.of(type), this.#upgradeOf(connection), context.active(), send)
  }

  inject(type: string): TraceFields | undefined {
    const { propagate } = this.#options
    const isAsked = typeof propagate === 'boolean' ? propagate : propagate.has(type)
    return isAsked ? fieldsOfContext(trace.getSpanContext(context.active())) : undefined
  }

  #inSpan(about: SpanOfType, links: Link[], parent: Context, next: () => unknown): unknown {
    const { name, kind, attributes } = about
    const span = this.#tracer.startSpan(name, { kind, attributes, links }, parent)
    const active = trace.setSpan(parent, span)
    return span.isRecording() ? runIn(active, span, kind, next) : context.with(active, next)
  }

  /**
   * Returns the client's trace, or none: the span of the upgrade has ended long ago, and is linked
   * instead.
   */
  #parentOf(message: TracedMessage): Context {
    const remote = this.#options.clientTrace === 'parent' ? remoteOf(message) : undefined
    return remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote)
  }

  #linksOf(message: TracedMessage): Link[] {
    const links = this.#upgradeOf(message.connection)
    const remote = this.#options.clientTrace === 'link' ? remoteOf(message) : undefined
    return remote === undefined ? links : [...links, { context: remote }]
  }

  #upgradeOf(connection: unknown): Link[] {
    const isObject = typeof connection === 'object' && connection !== null
    return (isObject && this.#upgrades.get(connection)) || []
  }
}

function remoteOf({ trace: given, tracestate }: TracedMessage): SpanContext | undefined {
  return given === undefined ? undefined : parseTraceparent(given, tracestate)
}

/** What spans of one kind have, by the type of the message: kept for a bounded number of types. */
class SpanKinds {
  readonly #known = new Map<string, SpanOfType>()
  readonly #make: (type: string) => SpanOfType

  constructor(make: (type: string) => SpanOfType) {
    this.#make = make
  }

  of(type: string): SpanOfType {
    const found = this.#known.get(type)
    if (found !== undefined) return found
    const made = this.#make(type)
    if (this.#known.size < MOST_TYPES) this.#known.set(type, made)
    return made
  }
}

function callSpan(kind: SpanKind, type: string): SpanOfType {
  return { name: type, kind, attributes: { 'rpc.system.name': SYSTEM, 'rpc.method': type } }
}

function consumerSpan(type: string): SpanOfType {
  return {
    name: `process ${type}`,
    kind: SpanKind.CONSUMER,
    attributes: {
      'messaging.system.name': SYSTEM,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'koaws.message.type': type,
    },
  }
}

/** Runs a function in a span, which ends with it. Returns what the function returned, or a promise of it. */
function runIn(active: Context, span: Span, kind: SpanKind, next: () => unknown): unknown {
  let result: unknown
  try {
    result = context.with(active, next)
  } catch (error) {
    fail(span, kind, error)
    throw error
  }
  if (!isThenable(result)) {
    span.end()
    return result
  }
  return Promise.resolve(result).then(
    (value: unknown) => {
      span.end()
      return value
    },
    (error: unknown) => {
      fail(span, kind, error)
      throw error
    },
  )
}

/** Whether a handler's result settles later: queries of some libraries are no promises. */
function isThenable(value: unknown): boolean {
  try {
    return typeof Object(value).then === 'function'
  } catch {
    return false
  }
}

/** Ends a span with an error. As the conventions say, a fault of the client leaves the status of a handler unset. */
function fail(span: Span, kind: SpanKind, error: unknown): void {
  const { code, name, status } = readError(error)
  const type = [code, name].find((one) => typeof one === 'string' && one !== '')
  span.setAttribute('error.type', String(type ?? '_OTHER').slice(0, LONGEST))
  if (typeof status === 'number') span.setAttribute('rpc.status_code', String(status))
  const isOfClient = typeof status === 'number' && status >= 400 && status < 500
  if (kind === SpanKind.CLIENT || !isOfClient) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

/** Returns nothing when a getter throws. */
function readError(error: unknown): { code?: unknown; name?: unknown; status?: unknown } {
  try {
    const { code, name, status } = Object(error)
    return { code, name, status }
  } catch {
    return {}
  }
}
