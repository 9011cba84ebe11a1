// What follows a message through handlers, pushes and requests to clients: the contract of `hub.trace()`.

import { OptionsError } from './errors.ts'
import { describe } from './validate.ts'

/** A message of `koaws.v1` that is about to be handled. */
export interface TracedMessage {
  /** The `Connection`. */
  readonly connection: unknown
  /** The type of the message. */
  readonly type: string
  /** Whether the client expects a reply. */
  readonly isRequest: boolean
  /** The field `trace` of the message: any text of the client, of at most 512 characters. */
  readonly trace: string | undefined
  /** The field `tracestate`, with the same bound; undefined without `trace`. */
  readonly tracestate: string | undefined
}

/** A request of the server that is about to be sent to a client. */
export interface TracedRequest {
  /** The `Connection`. */
  readonly connection: unknown
  /** The type of the message. */
  readonly type: string
}

/** The fields of a push, or of a request to a client, that carry its trace. */
export interface TraceFields {
  /** In the form of `traceparent` (W3C Trace Context). */
  readonly trace: string
  /** In the form of `tracestate`, of at most 512 characters. */
  readonly tracestate?: string | undefined
}

/** Follows messages: `koaws/otel` brings one. Its methods must not throw. */
export interface Tracer {
  /**
   * Runs the handler of a message, and returns what `next` returned: a value, or a promise that may
   * reject. Called for each message; `next` runs the handler with its middleware, once.
   *
   * @param message the message
   * @param next runs the handler
   */
  handle(message: TracedMessage, next: () => unknown): unknown
  /**
   * Sends a request to a client, and returns the promise of its answer, which may reject. Called for
   * each `connection.request()` with a right type and right data; `send` calls `inject()` and sends it, once.
   *
   * @param request the request
   * @param send sends the request; resolves with the answer
   */
  request(request: TracedRequest, send: () => Promise<unknown>): Promise<unknown>
  /**
   * Returns the trace of a push, or of a request to a client, that is sent now; undefined for none.
   *
   * @param type the type of the message
   */
  inject(type: string): TraceFields | undefined
}

/** Returns the tracer. @throws OptionsError when a method is missing */
export function checkTracer(tracer: Tracer | null): Tracer | null {
  if (tracer === null) return null
  for (const method of ['handle', 'request', 'inject'] as const) {
    if (typeof tracer?.[method] === 'function') continue
    throw new OptionsError(
      `hub.trace(): the tracer needs a method "${method}", and is ${describe(tracer)}.`,
    )
  }
  return tracer
}

/** The longest field of a client that a tracer gets, in characters. */
const LONGEST = 512

/** Returns the fields `trace` and `tracestate` of a message from a client. */
export function traceOf(envelope: {
  readonly trace?: unknown
  readonly tracestate?: unknown
}): Pick<TracedMessage, 'trace' | 'tracestate'> {
  const trace = bounded(envelope.trace)
  const tracestate = trace === undefined ? undefined : bounded(envelope.tracestate)
  return { trace, tracestate }
}

function bounded(field: unknown): string | undefined {
  return typeof field === 'string' && field.length <= LONGEST ? field : undefined
}
