import { type Channel, channel } from 'node:diagnostics_channel'

/**
 * The channels of `node:diagnostics_channel`. A payload is made only when somebody has subscribed.
 * `docs/guides/diagnostics.md` says what each carries.
 */
export const channels: {
  /** An upgrade was decided. */
  readonly upgrade: Channel<string, UpgradeEvent>
  /** A connection was accepted; its handler has not run yet. */
  readonly connection: Channel<string, ConnectionEvent>
  /** A message arrived. */
  readonly message: Channel<string, MessageEvent>
  /** Something was refused or dropped. */
  readonly drop: Channel<string, DropEvent>
  /** A connection has ended. */
  readonly close: Channel<string, CloseEvent>
  /** What joins the instances came or went. */
  readonly backplane: Channel<string, BackplaneEvent>
  /** Messages of other instances did not arrive, or messages for others will not. */
  readonly lost: Channel<string, LostEvent>
} = {
  upgrade: channel('koaws:upgrade') as unknown as Channel<string, UpgradeEvent>,
  connection: channel('koaws:connection') as unknown as Channel<string, ConnectionEvent>,
  message: channel('koaws:message') as unknown as Channel<string, MessageEvent>,
  drop: channel('koaws:drop') as unknown as Channel<string, DropEvent>,
  close: channel('koaws:close') as unknown as Channel<string, CloseEvent>,
  backplane: channel('koaws:backplane') as unknown as Channel<string, BackplaneEvent>,
  lost: channel('koaws:lost') as unknown as Channel<string, LostEvent>,
}

/** Payload of `koaws:upgrade`. */
export interface UpgradeEvent {
  /** The path without the query, control characters escaped, at most 200 characters. */
  readonly path: string
  /** The status that was answered: 101 is an accept, 0 means that the client left or nobody answered. */
  readonly status: number
  /** Why koaws itself refused it; undefined where the application decided. */
  readonly code: string | undefined
  /** Milliseconds from Node's event to the decision. */
  readonly duration: number
}

/** Payload of `koaws:connection`. */
export interface ConnectionEvent {
  readonly connection: unknown
}

/** Payload of `koaws:message`. */
export interface MessageEvent {
  readonly connection: unknown
  /** Bytes of the message. */
  readonly size: number
  readonly binary: boolean
}

/** Payload of `koaws:drop`. */
export interface DropEvent {
  /** The name that it is counted under in `status().drops`. */
  readonly reason: string
  readonly count: number
  /** Whom it happened to; undefined before there is a connection, and for a send to many. */
  readonly connection: unknown
}

/** Payload of `koaws:close`. */
export interface CloseEvent {
  readonly connection: unknown
  readonly code: number
  readonly reason: string
  readonly clean: boolean
}

/** Payload of `koaws:backplane`. */
export interface BackplaneEvent {
  /** The name of this instance. */
  readonly instance: string
  readonly state: 'ready' | 'degraded'
  /** Why it changed. */
  readonly why: string
  /** What waits for it: payloads and bytes. */
  readonly queued: { readonly messages: number; readonly bytes: number }
}

/** Payload of `koaws:lost`. */
export interface LostEvent {
  /** The name of this instance. */
  readonly instance: string
  /**
   * `in`: what another instance published did not arrive here. `out`: what this one published will not
   * arrive anywhere else; its `Delivery` says so too.
   */
  readonly direction: 'in' | 'out'
  /** What it was for: `all`, `room:<name>` or `user:<id>`; undefined for `out`. */
  readonly topic: string | undefined
  /** The instance that published it; empty where that is not known. */
  readonly from: string
  /** How many messages; 0 where nobody knows. */
  readonly count: number
  /** Why, for `out`. */
  readonly why: string | undefined
}
