// Other `upgrade` listeners: detects whether one took the socket, and installs the gate.
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Returns whether the server has other `upgrade` listeners. */
export function hasNeighbours(server: Server): boolean {
  return server.listenerCount('upgrade') > 1
}

/** Returns a function that tells whether the socket was read, written or ended since. */
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

/** Returns the bytes written, or 0: a Duplex passed to the server need not be a Socket. */
function bytesWritten(socket: Duplex): number {
  return (socket as Socket).bytesWritten ?? 0
}

type Emit = Server['emit']
type PassOn = () => void

/**
 * Installs the gate: Koa runs first. The event `upgrade` goes to `ask` only, which may pass the
 * untouched socket on to the other listeners. Needed for neighbors that abort every socket that
 * they do not serve.
 *
 * @returns a function that removes the gate
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
