// What metrics need of a hub.

import { type Hub, OptionsError } from '../index.ts'
import type { Queued } from './send-queues.ts'

/** The part of a hub that is observed: a `Hub` of any protocol has it. */
export interface ObservedHub extends Pick<Hub, 'status' | 'trace'> {
  /** The open connections of this instance, by id. */
  readonly localConnections: ReadonlyMap<string, ObservedConnection>
}

/** The part of a connection that is observed. */
export interface ObservedConnection extends Queued {
  /** The id of the connection. */
  readonly id: string
  /** The subprotocol; empty without one. */
  readonly protocol: string
  /** When it was accepted, in epoch milliseconds. */
  readonly openedAt: number
}

/** @throws OptionsError when the value is not a hub, or a closed one */
export function checkHub(where: string, hub: ObservedHub): void {
  const { status, trace, localConnections } = Object(hub) as Partial<ObservedHub>
  const isHub =
    typeof status === 'function' && typeof trace === 'function' && localConnections instanceof Map
  if (isHub && !hub.status().draining) return
  if (isHub) throw new OptionsError(`${where}: hub.close() was called. Call it before that.`)
  throw new OptionsError(
    `${where}: the first argument is not a hub. Pass the return value of koaWs().`,
  )
}
