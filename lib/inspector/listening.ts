// Subscribes to the channels of koaws for one hub.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type {
  CloseEvent,
  ConnectionEvent,
  DropEvent,
  HandledEvent,
  MessageEvent,
  SentEvent,
  ShutdownEvent,
  UpgradeEvent,
} from '../index.ts'

/** The channels, and their payloads. */
export interface Heard {
  upgrade: UpgradeEvent
  connection: ConnectionEvent
  message: MessageEvent
  handled: HandledEvent
  sent: SentEvent
  drop: DropEvent
  close: CloseEvent
  shutdown: ShutdownEvent
}

type Listeners = { readonly [Name in keyof Heard]?: (event: Heard[Name]) => void }

/** Subscribes to channels of koaws. @returns a function that unsubscribes */
export function listen(listeners: Listeners): () => void {
  const undo = Object.entries(listeners).map(([name, listener]) => {
    // The channel of a name carries the payload of that name.
    const hear = listener as (event: unknown) => void
    subscribe(`koaws:${name}`, hear)
    return () => unsubscribe(`koaws:${name}`, hear)
  })
  return () => {
    for (const end of undo) end()
  }
}
