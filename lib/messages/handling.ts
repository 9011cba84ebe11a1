// Runs the handler of a message, with what is measured and traced of it.

import type { Connection } from '../connection/connection.ts'
import { channels } from '../diagnostics.ts'
import type { Envelope } from '../protocol/envelope.ts'
import { type Tracer, traceOf } from '../tracer.ts'
import { codeOf } from './error-reply.ts'
import type { Message } from './message.ts'
import type { Route } from './routes.ts'
import { checkData } from './schema.ts'

/** Tells that a handler has ended: with the code of an error, or undefined. */
export type Done = (code: string | undefined) => void

/** Returns the data of a message, checked: a promise where the schema checks it later. @throws what the schema says */
export function checkedData({ schema }: Route, { data }: Envelope): unknown {
  return schema ? checkData(schema, data) : data
}

/** Runs the middleware and the handler of a message, inside of the tracer if there is one. */
export function carryOut(
  { chain, handler }: Route,
  message: Message,
  envelope: Envelope,
  tracer: Tracer | null,
): unknown {
  const run = (): unknown => (chain === null ? handler(message) : chain(message))
  if (tracer === null) return run()
  const { connection, type, id } = message
  const { trace, tracestate } = traceOf(envelope)
  const isRequest = id !== undefined
  return tracer.handle({ connection, type, isRequest, trace, tracestate }, run)
}

/** Whether the client left while a handler waited for its answer, which is no error of the application. */
export function isOfTheEnd(error: unknown, connection: Connection): boolean {
  return connection.readyState !== connection.OPEN && codeOf(error) === 'ERR_KOAWS_CLOSED'
}

/** Begins to measure a handler for the channel `koaws:handled`; null without a subscriber. */
export function timed(message: Message, size: number): Done | null {
  if (!channels.handled.hasSubscribers) return null
  const began = performance.now()
  const { connection, type, id } = message
  const isRequest = id !== undefined
  return (code) => {
    const duration = performance.now() - began
    channels.handled.publish({ connection, type, isRequest, size, duration, code })
  }
}
