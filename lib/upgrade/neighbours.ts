import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Whether somebody beside us listens for `upgrade`. */
export function hasNeighbours(server: Server): boolean {
  return server.listenerCount('upgrade') > 1
}

/**
 * A question to be asked again and again: has another listener taken this socket since? Whoever
 * takes one reads from it, writes to it, or ends it.
 */
export function claimWatch(socket: Duplex): () => boolean {
  const before = bytesWritten(socket)
  return () =>
    socket.destroyed ||
    !socket.writable ||
    socket.writableLength > 0 ||
    bytesWritten(socket) !== before ||
    socket.listenerCount('data') > 0 ||
    socket.listenerCount('readable') > 0
}

/** A Duplex that was handed to the server need not be a Socket. */
function bytesWritten(socket: Duplex): number {
  return (socket as Socket).bytesWritten ?? 0
}

type Emit = Server['emit']
type PassOn = () => void

/**
 * Asks Koa first: the event `upgrade` goes to `ask` alone, which may pass the untouched socket on
 * to the other listeners. For neighbours that abort every socket that is not theirs.
 *
 * @returns a function that opens the gate for good
 */
export function installGate(
  server: Server,
  own: (...args: never[]) => void,
  ask: (args: unknown[], passOn: PassOn | null) => void,
): () => void {
  const emit = server.emit
  const gated = function (this: Server, event: string, ...args: unknown[]): boolean {
    if (event !== 'upgrade')
      return (emit as (...all: unknown[]) => boolean).call(this, event, ...args)
    const others = server.rawListeners('upgrade').filter((listener) => listener !== own)
    ask(args, others.length === 0 ? null : () => passOn(server, others, args))
    return true
  }
  server.emit = gated as Emit
  return () => {
    if (server.emit === gated) server.emit = emit
  }
}

function passOn(server: Server, listeners: readonly unknown[], args: unknown[]): void {
  for (const listener of listeners) (listener as (...all: unknown[]) => void).apply(server, args)
}
