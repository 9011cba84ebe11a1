// `Speaker`, a handler with subprotocols of its own, and `Access`, what it may ask of its route.

import type { Context } from 'koa'
import type { Connection } from './connection.ts'

/** What the application's own authentication made of a token. */
export interface Authorisation {
  /** When it ends, in epoch milliseconds, or null for never. */
  readonly expiresAt: number | null
}

/** How a connection may be authenticated after its handshake: by the options of its route. */
export interface Access {
  /** How long the first token may take, in milliseconds; null when none is needed. */
  readonly deadline: number | null
  /** Whether a new token may come later. */
  readonly refreshes: boolean
  /**
   * Run the application's authentication on a token, and take over what it says. Rejects with what
   * it threw; then nothing has changed.
   */
  authorise(token: string): Promise<Authorisation>
}

/** A handler that speaks subprotocols of its own, such as `messages()`. */
export interface Speaker {
  /** By preference. */
  readonly subprotocols: readonly string[]
  /** Whether a client that offers none is served too. */
  readonly silent: boolean
  /** Whether it can authenticate a connection after the handshake. */
  readonly authenticates: boolean
  /** Runs in place of the handler. */
  serve(connection: Connection, ctx: Context, access: Access | null): unknown
}

const speakers = new WeakMap<object, Speaker>()

/** Say what a handler speaks. */
export function setSpeaker(handler: object, speaker: Speaker): void {
  speakers.set(handler, speaker)
}

/** Returns the subprotocols of a handler; undefined for a plain function. */
export function speakerOf(handler: object): Speaker | undefined {
  return speakers.get(handler)
}
