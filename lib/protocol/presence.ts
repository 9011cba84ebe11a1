/** Somebody in a room. */
export interface PresentMember {
  /** Of this person, as long as the connection lasts: no id of a user. */
  readonly key: string
  readonly connections: number
  /** What the application makes public of it. */
  readonly info: unknown
}

/** Data of `koaws:presence`: `docs/protocol.md`, section 3.5. */
export interface PresenceData {
  readonly room: string
  /** One more than the last, or something was missed. */
  readonly version: number
  /** How many people. */
  readonly count: number
  /** All of them; null where there are too many to tell. */
  readonly members?: readonly PresentMember[] | null
  /** Those who came, or whose number of connections changed. */
  readonly set?: readonly PresentMember[]
  /** The keys of those who left. */
  readonly left?: readonly string[]
}
