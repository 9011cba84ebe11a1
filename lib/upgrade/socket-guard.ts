import type { Duplex } from 'node:stream'
import { debugUpgrade, messageOf } from '../debug.ts'

/**
 * Keep an error of a raw socket from ending the process, as long as nobody else owns it: Node takes
 * its own listener off before the `upgrade` event.
 */
export function guardSocket(socket: Duplex): void {
  socket.on('error', ignoreError)
}

/** Somebody else guards the socket from here on. */
export function releaseGuard(socket: Duplex): void {
  socket.removeListener('error', ignoreError)
}

function ignoreError(error: Error): void {
  if (debugUpgrade.enabled) debugUpgrade('socket: %s', messageOf(error))
}
