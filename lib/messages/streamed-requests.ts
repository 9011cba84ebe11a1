// The requests with streams of one connection.

import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import { isResuming, type StreamedEnvelope } from '../protocol/streams.ts'
import { streamFaultBody } from '../streams/faults.ts'
import { resolveStreamsOptions } from '../streams/options.ts'
import { Streams } from '../streams/streams.ts'
import type { Answerer } from './answerer.ts'
import { codeOf, exposedBody, INTERNAL } from './error-reply.ts'
import { streamAttempt } from './retry.ts'
import type { Route } from './routes.ts'
import { checkData } from './schema.ts'
import type { Service } from './service.ts'
import { StreamedRequest, type StreamHost } from './streamed-request.ts'

/** What the requests of one connection ask of their conversation. */
export interface StreamsHost extends Omit<StreamHost, 'forget' | 'settled'> {
  /** Answers a request with an error. */
  refuse(body: ErrorBody, id: number, type: string): void
}

/** The requests with streams of one connection. */
export class StreamedRequests {
  readonly #host: StreamHost & StreamsHost
  /** The requests that the client may still refer to. */
  readonly #byId = new Map<number, StreamedRequest>()
  /** Those with a handler that has not settled. */
  readonly #running = new Set<StreamedRequest>()
  readonly #idle: (() => void)[] = []

  constructor(host: StreamsHost) {
    const forget = (request: StreamedRequest): void => {
      if (this.#byId.get(request.id) === request) this.#byId.delete(request.id)
    }
    this.#host = { ...host, forget, settled: (request) => this.#settled(request) }
  }

  /** Takes a request. Returns undefined if it was refused: it is answered then. */
  open(envelope: StreamedEnvelope, route: Route): StreamedRequest | undefined {
    const { id, type } = envelope
    const host = this.#host
    const former = this.#byId.get(id)
    if (former?.isAnswered)
      former.cancel(undefined) // it has the answer, and uses the id again
    else if (former) {
      host.offend(streamFaultBody('ERR_KOAWS_STREAM', undefined, 'The id is in use'), id)
      return undefined
    }
    const isFull = this.#running.size >= host.streams.options.perConnection
    // A resumed stream counts where its handler runs.
    const counts = !isResuming(envelope)
    if (isFull || (counts && !host.streams.enter(host.user))) {
      host.count('streamLimit')
      host.refuse(streamFaultBody('ERR_KOAWS_STREAM_LIMIT'), id, type)
      return undefined
    }
    try {
      const request = new StreamedRequest(envelope, route, host)
      this.#byId.set(id, request)
      this.#running.add(request)
      return request
    } catch (error) {
      if (counts) host.streams.leave(host.user)
      host.refuse(exposedBody(error) ?? INTERNAL, id, type)
      return undefined
    }
  }

  #settled(request: StreamedRequest): void {
    if (!this.#running.delete(request)) return
    if (request.sender !== null) this.#host.streams.leave(this.#host.user)
    if (this.#running.size > 0) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Takes a message of a stream. A stream that is not open has ended at the same time. */
  hear(envelope: Envelope, bytes: number): void {
    if (envelope.id !== undefined) this.#byId.get(envelope.id)?.hear(envelope, bytes)
  }

  get isActive(): boolean {
    return this.#running.size > 0
  }

  /** A promise for the end of all handlers; null when none runs. */
  idle(): Promise<void> | null {
    if (this.#running.size === 0) return null
    return new Promise((resolve) => {
      this.#idle.push(resolve)
    })
  }

  /** The instance ends: clients are told that their streams do. */
  takeLeave(): void {
    for (const request of [...this.#byId.values()]) request.shutDown()
  }

  /** The connection has ended. */
  closed(): void {
    // A handler that has answered may go on: its signal aborts, too.
    for (const request of new Set([...this.#byId.values(), ...this.#running])) request.closed()
  }
}

/** Makes the requests with streams of one conversation. */
export function streamsOf(
  answerer: Answerer,
  core: ConnectionCore<Connection>,
  service: Service,
): StreamedRequests {
  const { connection, owner } = core
  return new StreamedRequests({
    streams: owner?.streams ?? NO_STREAMS,
    user: connection.userId,
    path: connection.path,
    send: (text) => answerer.send(text),
    sendItem: (text, request, index) => {
      if (core.outbox?.takesAll !== false) answerer.send(text)
      else {
        // With `slowConsumer: 'drop'`, a client that is too slow does not get it. The end of the
        // connection is no loss: the stream may go on at another one.
        connection.send(text, (error) => {
          if (codeOf(error) === 'ERR_KOAWS_SLOW_CONSUMER') request.dropped(index)
        })
      }
    },
    count: (reason) => answerer.count(reason),
    offend: (body, id) => answerer.offend(body, id),
    refuse: (body, id, type) => answerer.replyError(body, id, type),
    forgive: (bytes) => core.forgive(bytes),
    attempt: (envelope) => streamAttempt(envelope, core),
    encode: (route, value) => service.itemOf(route, value),
    check: ({ upload }, data) => (upload ? checkData(upload, data) : data),
  })
}

/** Of a connection without a hub, which is served no request. */
const NO_STREAMS = new Streams({ ...resolveStreamsOptions(), perConnection: 0 }, () => {})
