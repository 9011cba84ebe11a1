import type { Duplex } from 'node:stream'

/**
 * How many bytes of the write that is under way the kernel has not taken yet; undefined where the
 * stream cannot tell.
 *
 * This is the one place that looks behind Node's public API. `writableLength` counts a write as
 * waiting until all of it is gone, so a client that slowly takes 16 MiB looks like one that takes
 * nothing. Node's own idle timeout (`net.Socket.setTimeout`) asks the same field for the same reason.
 * Without it progress is seen at the end of each write only. `test/connection/unsent.test.ts` holds
 * this against the running Node.
 */
export function unsentOf(socket: Duplex): number | undefined {
  const handle = (socket as { _handle?: { writeQueueSize?: unknown } | null })._handle
  const size = handle?.writeQueueSize
  return typeof size === 'number' ? size : undefined
}
