// Publishes one payload on all streams that subscribe to it.

import { PayloadRefused } from '../../backplane/adapter.ts'
import { loggable } from '../../debug.ts'
import { LARGEST_PAYLOAD } from './records.ts'
import type { Stream } from './stream.ts'

/**
 * Publishes a payload on all streams that subscribed to it. Resolves to the number of those streams.
 *
 * @throws PayloadRefused for a payload that is too large, and where too much waits for an instance
 */
export async function publishOn(
  streams: Iterable<Stream>,
  topics: readonly string[],
  payload: Buffer,
  folder: string,
): Promise<number> {
  if (payload.length > LARGEST_PAYLOAD) throw tooLarge(payload.length, folder)
  const isOwn = topics.every((topic) => topic.startsWith('instance:'))
  let written = 0
  const given: Promise<void>[] = []
  const full: Stream[] = []
  for (const stream of streams) {
    const admission = stream.publish(topics, payload, isOwn)
    if (admission === 'refused') full.push(stream)
    else if (admission) written++
    // Its sender goes on when there is room: an answer in many parts is never in memory whole.
    if (isOwn && admission === 'waiting') given.push(stream.given())
  }
  if (given.length > 0) await Promise.all(given)
  if (full.length > 0) throw tooMuch(full, topics, payload.length, folder)
  return written
}

function tooMuch(
  full: readonly Stream[],
  topics: readonly string[],
  bytes: number,
  folder: string,
): PayloadRefused {
  const streams = full.map(({ peer, waiting }) => `${peer} (${waiting} bytes queued)`)
  return new PayloadRefused(
    `a payload of ${bytes} bytes for ${loggable(topics[0])} was not sent to ${streams.join(', ')} in ${folder}: the queue is full. Send less, or raise "maxQueued.bytes"`,
  )
}

function tooLarge(length: number, folder: string): PayloadRefused {
  return new PayloadRefused(
    `a payload of ${length} bytes is too large for a stream in ${folder}: the limit is ${LARGEST_PAYLOAD} bytes`,
  )
}
