// Guards a raw socket from the `upgrade` event until its next owner listens for errors.

import type { Duplex } from 'node:stream'
import { debugUpgrade, messageOf } from '../debug.ts'

/**
 * Prevents an error of a raw socket from ending the process. Node removes its own listener before
 * the `upgrade` event, and the next owner adds one later.
 */
export function guardSocket(socket: Duplex): void {
  socket.on('error', ignoreError)
}

/** Removes the guard, because the next owner listens for errors. */
export function releaseGuard(socket: Duplex): void {
  socket.removeListener('error', ignoreError)
}

function ignoreError(error: Error): void {
  if (debugUpgrade.enabled) debugUpgrade('socket: %s', messageOf(error))
}
