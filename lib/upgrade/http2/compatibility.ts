// Removes references that Node's compatibility layer for HTTP/2 keeps too long.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Gives request and response a `socket` that removes listeners correctly. Node adds a listener of
 * `req.socket` to the stream, but removes it from the socket of the session, where it is not. The
 * listeners of on-finished, which Koa uses, would stay as long as the stream, and hold the
 * response.
 */
export function repairSocket(req: IncomingMessage, res: ServerResponse, stream: Duplex): void {
  const off = stream.removeListener.bind(stream)
  const socket = new Proxy(req.socket, {
    get: (target, name) =>
      name === 'removeListener' || name === 'off' ? off : Reflect.get(target, name),
  })
  Object.defineProperty(req, 'socket', { value: socket, configurable: true })
  Object.defineProperty(res, 'socket', { value: socket, configurable: true })
}

/**
 * Drops the references from the stream to request and response, about 5 KiB per connection. Node
 * keeps them until the stream ends. They are found by value, because the names of the symbols are
 * internal.
 */
export function letGo(req: IncomingMessage, res: ServerResponse, stream: Duplex): void {
  const held = stream as unknown as Record<symbol, unknown>
  for (const key of Object.getOwnPropertySymbols(stream)) {
    if (held[key] === req || held[key] === res) held[key] = undefined
  }
  // This listener needs both references. ws has turned the timer off, but the application may set
  // it again.
  for (const listener of stream.listeners('timeout')) {
    if (listener.name === 'onStreamTimeout') stream.off('timeout', listener as () => void)
  }
}
