// The presence data that clients receive.

/** A person in a room. */
export interface PresentMember {
  /**
   * Identifies this person in this room while the person stays. It is not the id of a user or
   * connection.
   */
  readonly key: string
  /** The number of connections of this person in the room. */
  readonly connections: number
  /** The public information that the application gives about this person. */
  readonly info: unknown
}

/** The data of `koaws:presence`: `docs/protocol.md`, section 3.5. */
export interface PresenceData {
  /** The name of the room. */
  readonly room: string
  /** Increases by one with each message. After a gap, messages were missed. */
  readonly version: number
  /** The number of people. */
  readonly count: number
  /** All people; null when there are too many to list. */
  readonly members?: readonly PresentMember[] | null
  /** The people that joined, or that have a different number of connections. */
  readonly set?: readonly PresentMember[]
  /** The keys of the people that left. */
  readonly left?: readonly string[]
}
