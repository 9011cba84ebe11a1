// The requests with streams of one connection.

import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import type { StreamedEnvelope } from '../protocol/streams.ts'
import { streamFaultBody } from '../streams/faults.ts'
import { resolveStreamsOptions } from '../streams/options.ts'
import { Streams } from '../streams/streams.ts'
import type { Answerer } from './answerer.ts'
import { exposedBody, INTERNAL } from './error-reply.ts'
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
  /** Those that the client may still speak of. */
  readonly #byId = new Map<number, StreamedRequest>()
  /** Those with a handler that has not settled. */
  readonly #running = new Set<StreamedRequest>()
  #idle: (() => void) | null = null

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
    if (this.#byId.has(id)) {
      host.offend(streamFaultBody('ERR_KOAWS_STREAM', undefined, 'The id is in use'), id)
      return undefined
    }
    const isFull = this.#running.size >= host.streams.options.perConnection
    if (isFull || !host.streams.enter(host.user)) {
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
      host.streams.leave(host.user)
      host.refuse(exposedBody(error) ?? INTERNAL, id, type)
      return undefined
    }
  }

  #settled(request: StreamedRequest): void {
    if (!this.#running.delete(request)) return
    this.#host.streams.leave(this.#host.user)
    if (this.#running.size > 0) return
    this.#idle?.()
    this.#idle = null
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
      this.#idle = resolve
    })
  }

  /** The instance ends: clients are told that their streams do. */
  takeLeave(): void {
    for (const request of [...this.#byId.values()]) request.shutDown()
  }

  /** The connection has ended. */
  closed(): void {
    for (const request of [...this.#byId.values()]) request.closed()
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
    count: (reason) => answerer.count(reason),
    offend: (body, id) => answerer.offend(body, id),
    refuse: (body, id, type) => answerer.replyError(body, id, type),
    forgive: (bytes) => core.forgive(bytes),
    encode: (route, value) => service.itemOf(route, value),
    check: ({ upload }, data) => (upload ? checkData(upload, data) : data),
  })
}

/** Of a connection without a hub, which is served no request. */
const NO_STREAMS = new Streams({ ...resolveStreamsOptions(), perConnection: 0 }, () => {})
