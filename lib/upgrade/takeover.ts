import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

/** What Node hands over with an upgrade. */
export interface Handover {
  readonly socket: Duplex
  readonly head: Buffer
}

interface Upgradable {
  upgrade: boolean
}

const EMPTY = Buffer.alloc(0)
const waiting = new WeakMap<IncomingMessage, (handover: Handover | null) => void>()

/**
 * Make Node do its own upgrade for a request that it has taken for an ordinary one, because nobody
 * listened for `upgrade` when it came in. Node looks at the request's mark again after each parse:
 * set within the parse, it detaches its parser and emits `upgrade` by itself; set later, an empty
 * chunk makes it look again. Resolves with null when it does not: then the request stays what it is.
 *
 * Two touches of what Node does not document: `req.upgrade`, and that the server listens to `data`.
 */
export function takeOver(req: IncomingMessage): Promise<Handover | null> {
  return new Promise((resolve) => {
    waiting.set(req, resolve)
    ;(req as unknown as Upgradable).upgrade = true
    process.nextTick(lookAgain, req)
  })
}

/** Called first by the `upgrade` listener: whether a takeover waits for this request. */
export function handOver(req: IncomingMessage, handover: Handover): boolean {
  const resolve = waiting.get(req)
  if (!resolve) return false
  waiting.delete(req)
  resolve(handover)
  return true
}

/** Whether Node would give such a request to an `upgrade` listener, now that there is one. */
export function mayTakeOver(server: Server, req: IncomingMessage): boolean {
  const decide = (server as { shouldUpgradeCallback?: (req: IncomingMessage) => boolean })
    .shouldUpgradeCallback
  return decide === undefined || Boolean(decide.call(server, req))
}

function lookAgain(req: IncomingMessage): void {
  if (waiting.has(req) && !req.socket.destroyed) req.socket.emit('data', EMPTY)
  const resolve = waiting.get(req)
  if (!resolve) return
  waiting.delete(req)
  ;(req as unknown as Upgradable).upgrade = false
  resolve(null)
}

