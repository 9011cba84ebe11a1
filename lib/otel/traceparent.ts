// Reads and writes `traceparent` of W3C Trace Context, the form of the field `trace`.

import { isSpanContextValid, type SpanContext, TraceFlags } from '@opentelemetry/api'

/** Version, trace id, parent id, flags. A later version may add fields. */
const FORM = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/

/** Returns the context that a client names; undefined for what is no `traceparent`. */
export function parseTraceparent(text: string): SpanContext | undefined {
  const [, version, traceId = '', spanId = '', flags = '', rest] = FORM.exec(text) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) {
    return undefined
  }
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
  const context = { traceId, spanId, traceFlags, isRemote: true }
  return isSpanContextValid(context) ? context : undefined
}

/** Returns the text of a sampled context; undefined for any other. */
export function formatTraceparent(context: SpanContext | undefined): string | undefined {
  if (context === undefined || !isSpanContextValid(context)) return undefined
  if ((context.traceFlags & TraceFlags.SAMPLED) === 0) return undefined
  return `00-${context.traceId}-${context.spanId}-01`
}
