// Counts the bytes that a socket accepted, which Node's public API does not show.

import type { Duplex } from 'node:stream'

interface Handle {
  readonly bytesWritten?: unknown
  readonly writeQueueSize?: unknown
  /** Below TLS: the handle of the TCP connection. */
  readonly _parent?: Handle
}

/** A stream that counts by itself what the client takes of it. */
export interface Counted {
  /** Grows with all that was taken. */
  taken: number
}

/** Whether a stream takes nothing within the turn in which it is given something. */
export function countsLater(stream: Duplex): boolean {
  return (stream as Partial<Counted>).taken !== undefined
}

/**
 * How many bytes the kernel has taken from a socket in all, or what a stream of HTTP/2 has counted in
 * its place; undefined where that cannot be told.
 *
 * Only this file looks behind Node's public API. `writableLength` counts a write as
 * waiting until all of it is gone, so a client that slowly takes 16 MiB seems to take
 * nothing. Node's own idle timeout (`net.Socket.setTimeout`) asks the same handle for the same reason.
 * Without it progress is seen at the end of each write only. `test/connection/taken.test.ts` holds
 * this against the running Node.
 */
export function takenOf(socket: Duplex): number | undefined {
  const { taken } = socket as Partial<Counted>
  if (taken !== undefined) return taken
  const handle = (socket as { _handle?: Handle | null })._handle
  const { bytesWritten, writeQueueSize } = handle?._parent ?? handle ?? {}
  if (typeof bytesWritten !== 'number' || typeof writeQueueSize !== 'number') return undefined
  return bytesWritten - writeQueueSize
}

/** How far a stream has come with what it was given. */
export interface Progress {
  readonly taken: number | undefined
  /** What waits, for streams that cannot tell what was taken. */
  readonly waiting: number
}

export function progressOf(socket: Duplex): Progress {
  return { taken: takenOf(socket), waiting: socket.writableLength }
}

/** Whether something was taken in between. */
export function hasMoved(before: Progress, now: Progress): boolean {
  return now.taken !== before.taken || now.waiting < before.waiting
}
