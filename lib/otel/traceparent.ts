// Reads and writes `traceparent` and `tracestate` of W3C Trace Context, the forms of the fields of a message.

import {
  createTraceState,
  isSpanContextValid,
  type SpanContext,
  TraceFlags,
  type TraceState,
} from '@opentelemetry/api'
import type { TraceFields } from '../index.ts'

/** Version, trace id, parent id, flags. A later version may add fields. */
const FORM = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/

/** The longest `tracestate`, in characters. */
const LONGEST_STATE = 512

/** Returns the context that a client names; undefined for what is no `traceparent`. */
export function parseTraceparent(text: string, state?: string): SpanContext | undefined {
  const [, version, traceId = '', spanId = '', flags = '', rest] = FORM.exec(text) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) {
    return undefined
  }
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
  const traceState = state === undefined ? undefined : wellFormed(state)
  const context = { traceId, spanId, traceFlags, isRemote: true, ...(traceState && { traceState }) }
  return isSpanContextValid(context) ? context : undefined
}

/** Returns the fields of a sampled context; undefined for any other. */
export function fieldsOfContext(context: SpanContext | undefined): TraceFields | undefined {
  if (context === undefined || (context.traceFlags & TraceFlags.SAMPLED) === 0) return undefined
  if (!isSpanContextValid(context)) return undefined
  const trace = `00-${context.traceId}-${context.spanId}-01`
  const state = context.traceState && wellFormed(context.traceState.serialize())
  return state ? { trace, tracestate: state.serialize() } : { trace }
}

/**
 * Returns a `tracestate` without its malformed members, as HTTP instrumentations read it; undefined
 * when it is too long, or nothing is left.
 */
function wellFormed(text: string): TraceState | undefined {
  if (text.length > LONGEST_STATE) return undefined
  const state = createTraceState(text)
  return state.serialize() === '' ? undefined : state
}
