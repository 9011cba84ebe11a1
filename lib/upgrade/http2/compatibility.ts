import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Node puts whoever listens to `req.socket` or `res.socket` on the stream, and takes him off the socket of
 * the session, where he is not. On-finished, which Koa uses, would stay for as long as the stream, and hold
 * the response. So both get a `socket` that takes listeners off where they were put.
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
 * Node holds request and response on the stream until that ends, about 5 KiB for each connection. It lets
 * go of them then as it is done here, by what they are, for the names are its own.
 */
export function letGo(req: IncomingMessage, res: ServerResponse, stream: Duplex): void {
  const held = stream as unknown as Record<symbol, unknown>
  for (const key of Object.getOwnPropertySymbols(stream)) {
    if (held[key] === req || held[key] === res) held[key] = undefined
  }
  // These expect both to be there. ws has turned the timer off, but anybody may set it.
  for (const listener of stream.listeners('timeout')) {
    if (listener.name === 'onStreamTimeout') stream.off('timeout', listener as () => void)
  }
}
