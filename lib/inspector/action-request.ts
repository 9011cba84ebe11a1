// What the page may ask for, and what is told of it.

/** The names of actions. */
export const ACTIONS = ['close', 'leave', 'push'] as const

/** An action: `close` ends connections, `leave` removes them from a room, `push` sends a message of `koaws.v1`. */
export type InspectorAction = (typeof ACTIONS)[number]

/** An action on a connection, on the members of a room, or on the connections of a user. */
export interface ActionRequest {
  /** What is done. */
  readonly action: InspectorAction
  /** What `name` names. */
  readonly kind: 'connection' | 'room' | 'user'
  /** The id of the connection or user, or the name of the room. */
  readonly name: string
  /** The close code; 1000 for other actions. */
  readonly code: number
  /** The close reason; empty for other actions. */
  readonly reason: string
  /** The room to leave; empty for other actions. */
  readonly room: string
  /** The type of the push; empty for other actions. */
  readonly type: string
}

/** What happened to an action, on the channel `koaws:audit` and for `onAction`. It has no data of a push. */
export interface AuditEvent extends ActionRequest {
  /** The name of the instance that carried it out, as in `status().id`. */
  readonly instance: string
  /** When, in epoch milliseconds. */
  readonly at: number
  /** The address of the client that asked: `ctx.ip` of the socket. */
  readonly ip: string
  /** `refused` by an option, or `failed` with an error. */
  readonly outcome: 'done' | 'refused' | 'failed'
  /** Why it was refused or failed; empty when it is done. */
  readonly why: string
}
