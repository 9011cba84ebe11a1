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
/** The same symbol in every copy of this package: a request is taken over once. */
const kWaiting: unique symbol = Symbol.for('koaws.takeover.1') as never

interface Waiting {
  [kWaiting]?: ((handover: Handover | null) => void) | undefined
}

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
    ;(req as Waiting)[kWaiting] = resolve
    ;(req as unknown as Upgradable).upgrade = true
    process.nextTick(lookAgain, req)
  })
}

/** Called first by the `upgrade` listener: whether a takeover waits for this request. */
export function handOver(req: IncomingMessage, handover: Handover): boolean {
  const resolve = (req as Waiting)[kWaiting]
  if (!resolve) return false
  ;(req as Waiting)[kWaiting] = undefined
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
  if ((req as Waiting)[kWaiting] && !req.socket.destroyed) req.socket.emit('data', EMPTY)
  const resolve = (req as Waiting)[kWaiting]
  if (!resolve) return
  ;(req as Waiting)[kWaiting] = undefined
  ;(req as unknown as Upgradable).upgrade = false
  resolve(null)
}
