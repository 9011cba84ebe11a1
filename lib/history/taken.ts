// Waits until a socket has taken what it was given, with one pair of listeners for all rooms of a connection.

import type { Duplex } from 'node:stream'

const waiting = new WeakMap<Duplex, Set<() => void>>()

/**
 * Calls `then` once, when a socket that needs a `drain` has taken everything, or has closed, or has not for so long.
 *
 * @param patience in milliseconds
 * @param then is told whether it was in time
 * @returns a function that takes it back
 */
export function whenTaken(
  socket: Duplex,
  patience: number,
  then: (inTime: boolean) => void,
): () => void {
  const waits = waiting.get(socket) ?? listen(socket)
  const forget = (): void => {
    clearTimeout(timer)
    waits.delete(taken)
  }
  const taken = (): void => {
    forget()
    then(true)
  }
  const timer = setTimeout(() => {
    forget()
    then(false)
  }, patience)
  timer.unref()
  waits.add(taken)
  return forget
}

/** More than ten listeners of one kind would make Node print a warning. */
function listen(socket: Duplex): Set<() => void> {
  const waits = new Set<() => void>()
  const taken = (): void => {
    socket.off('drain', taken)
    socket.off('close', taken)
    waiting.delete(socket)
    for (const then of waits) then()
  }
  socket.on('drain', taken)
  socket.on('close', taken)
  waiting.set(socket, waits)
  return waits
}
