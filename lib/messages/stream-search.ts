// Finds the stream that a request resumes.

import type { StreamedEnvelope } from '../protocol/streams.ts'
import { streamFault } from '../streams/faults.ts'
import type { ResumingSink, StreamSource } from '../streams/pull.ts'
import type { StreamSender } from '../streams/stream-sender.ts'
import { StreamClaim } from './stream-claim.ts'
import { createSender, type PartsHost } from './stream-parts.ts'
import type { StreamedRoute } from './stream-route.ts'

/** A stream that was found. */
interface FoundStream {
  readonly source: StreamSource
  /** The same, if the generator runs on this instance. */
  readonly local: StreamSender | null
  /** Of a stream that begins here. */
  readonly claim: StreamClaim | null
}

/** A request that resumes a stream. */
interface ResumingRequest extends ResumingSink {
  /** Whether its connection has ended. */
  readonly isCut: boolean
}

/**
 * Looks for the stream of a request that was sent before: on this instance, then on the others. Begins
 * it here if the client has received nothing of it and no instance has run it. Resolves with null if
 * the stream is lost, or the connection of the request has ended.
 */
export async function findStream(
  request: ResumingRequest,
  envelope: StreamedEnvelope,
  route: StreamedRoute,
  name: string,
  host: PartsHost,
): Promise<FoundStream | null> {
  const { streams } = host
  const { since = 0, credit = 0 } = envelope
  let local = streams.find(name)
  while (local && local.claimed !== null) {
    await local.claimed
    local = streams.find(name)
  }
  // It would take the stream from the request of the next connection.
  if (request.isCut) return null
  if (local) {
    const goesOn = local.attach(request, since, credit)
    return goesOn ? { source: local, local, claim: null } : null
  }
  const begun = await begin(request, envelope, route, name, host)
  if (begun || request.isCut) return begun
  const source = await streams.relay?.pull(name, request, since, credit)
  return source ? { source, local: null, claim: null } : null
}

/** Begins a stream that has run nowhere. Resolves with null if it may have. */
async function begin(
  request: ResumingSink,
  envelope: StreamedEnvelope,
  route: StreamedRoute,
  name: string,
  host: PartsHost,
): Promise<FoundStream | null> {
  const { streams, user } = host
  // After an item, it has run for certain.
  const attempt = envelope.since === undefined ? host.attempt(envelope) : undefined
  if (!attempt) return null
  if (!streams.enter(user)) {
    host.count('streamLimit')
    throw streamFault('ERR_KOAWS_STREAM_LIMIT')
  }
  let isFirst = false
  try {
    const local = createSender(request, envelope, route, name, host)
    const claim = new StreamClaim(local, attempt, () => streams.forget(name, local))
    isFirst = await claim.isFirst()
    return isFirst ? { source: local, local, claim } : null
  } finally {
    if (!isFirst) streams.leave(user)
  }
}
