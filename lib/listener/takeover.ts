// Makes Node upgrade a request that it took for an ordinary one.
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

/** The arguments that Node passes with an upgrade. */
export interface Handover {
  readonly socket: Duplex
  readonly head: Buffer
}

/** A server that may ask the application which requests it upgrades. */
type Deciding = Server & { shouldUpgradeCallback?: (this: Server, req: IncomingMessage) => boolean }

const EMPTY = Buffer.alloc(0)
/** The same symbol in every copy of this package, so that a request is taken over once. */
const kWaiting: unique symbol = Symbol.for('koaws.takeover.1') as never

/** A request, with the mark that Node looks at after each parse. */
type Waiting = IncomingMessage & {
  upgrade?: boolean | null
  [kWaiting]?: ((handover: Handover | null) => void) | undefined
}

/**
 * Makes Node upgrade a request that it treated as ordinary because the server had no `upgrade`
 * listener. Node reads `req.upgrade` again after each parse. When it is set during the parse, Node
 * detaches its parser and emits `upgrade`. When it is set later, an empty chunk makes Node check
 * again. Resolves with null when Node does not upgrade: the request stays ordinary.
 *
 * Uses two undocumented parts of Node: `req.upgrade`, and the server's listener for `data`.
 */
export function takeOver(req: Waiting): Promise<Handover | null> {
  return new Promise((resolve) => {
    req[kWaiting] = resolve
    req.upgrade = true
    process.nextTick(lookAgain, req)
  })
}

/** Settles a pending takeover of this request. Returns whether there was one. */
export function handOver(req: Waiting, handover: Handover): boolean {
  const resolve = req[kWaiting]
  if (!resolve) return false
  req[kWaiting] = undefined
  resolve(handover)
  return true
}

/** Returns whether Node would pass such a request to an `upgrade` listener. */
export function mayTakeOver(server: Deciding, req: IncomingMessage): boolean {
  const decide = server.shouldUpgradeCallback
  return decide === undefined || Boolean(decide.call(server, req))
}

function lookAgain(req: Waiting): void {
  if (req[kWaiting] && !req.socket.destroyed) req.socket.emit('data', EMPTY)
  const resolve = req[kWaiting]
  if (!resolve) return
  req[kWaiting] = undefined
  req.upgrade = false
  resolve(null)
}
