// Makes the sender and the receiver of a request with a stream.

import { cancelText, creditText, type StreamedEnvelope } from '../protocol/streams.ts'
import type { Attempt } from '../retry/attempt.ts'
import type { ResumingSink } from '../streams/pull.ts'
import { StreamReceiver } from '../streams/stream-receiver.ts'
import { StreamSender } from '../streams/stream-sender.ts'
import type { StreamDrop, Streams } from '../streams/streams.ts'
import { keyInUse } from './stream-errors.ts'
import type { StreamedRoute } from './stream-route.ts'

/** The attempt at a stream that the instances record. */
export type StreamAttempt = Pick<Attempt, 'first' | 'over'>

/** What sender and receiver ask of their conversation. */
export interface PartsHost {
  readonly streams: Streams
  readonly user: string | undefined
  /** Returns the attempt at a stream with a key; undefined if the instances do not record it. */
  attempt(this: void, envelope: StreamedEnvelope): StreamAttempt | undefined
  /** Sends a text of the protocol, if the connection is open. */
  send(text: string): void
  count(reason: StreamDrop): void
  /** Returns an item as JSON. @throws what keeps the value from being an item */
  encode(route: StreamedRoute, value: unknown): string
  /** Returns an item of the client as the schema outputs it. @throws what the schema says */
  check(route: StreamedRoute, data: unknown): unknown
}

/** Makes the sender of a request. @throws MessageError if what it may have to keep cannot be kept */
export function createSender(
  request: ResumingSink,
  { credit = 0 }: StreamedEnvelope,
  route: StreamedRoute,
  name: string | null,
  host: PartsHost,
): StreamSender {
  const { streams } = host
  const sender: StreamSender = new StreamSender(
    {
      id: request.id,
      resume: name === null ? null : streams.options.resume,
      idle: streams.options.idle,
      held: streams.held,
      count: (reason) => host.count(reason),
      encode: (value) => host.encode(route, value),
      forgotten: () => name !== null && streams.forget(name, sender),
    },
    request,
    credit,
  )
  if (name !== null && !streams.keep(name, sender)) {
    throw keyInUse()
  }
  return sender
}

/** Makes the receiver of the items of a client. */
export function createReceiver(
  { id, isOver }: { readonly id: number; isOver(): boolean },
  route: StreamedRoute,
  host: PartsHost,
): StreamReceiver {
  return new StreamReceiver({
    idle: host.streams.options.idle,
    held: host.streams.held,
    grant: (bytes) => host.send(creditText(id, bytes)),
    stop: () => {
      if (!isOver()) host.send(cancelText(id))
    },
    check: (data) => host.check(route, data),
    idled: () => host.count('streamIdle'),
  })
}
