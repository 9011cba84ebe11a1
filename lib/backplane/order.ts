/** Whom something is for, in words that can travel between instances. */
export interface Target {
  readonly kind: 'all' | 'connections' | 'users' | 'rooms'
  /** Ids of connections, users, or rooms; empty for all. */
  readonly names: readonly string[]
  /** Ids of connections that are left out. */
  readonly except: readonly string[]
  readonly exceptUsers: readonly string[]
}

/** What is for every instance, whoever is there. */
export const EVERYBODY = 'all'

/** What an instance subscribes to in order to get what is for a room or a user. */
export function topicOf(kind: 'rooms' | 'users', name: string): string {
  return `${kind === 'rooms' ? 'room' : 'user'}:${name}`
}

/** What only one instance subscribes to. */
export function topicOfInstance(id: string): string {
  return `instance:${id}`
}

/** The topics that an order for a target is published on. */
export function topicsOf({ kind, names }: Target): readonly string[] {
  if (kind === 'all' || kind === 'connections') return [EVERYBODY]
  return names.map((name) => topicOf(kind, name))
}

/** What one instance asks of all others. */
export type Order =
  | {
      readonly type: 'send'
      readonly target: Target
      /** The whole unmasked frame (RFC 6455, section 5.2), so that nobody encodes it again. */
      readonly frame: Buffer
      /** Only for members that speak `koaws.v1`. */
      readonly pushed: boolean
      readonly volatile: boolean
    }
  | { readonly type: 'join' | 'leave'; readonly target: Target; readonly rooms: readonly string[] }
  | {
      readonly type: 'close'
      readonly target: Target
      readonly code: number
      readonly reason: string
    }
  /** What presence of one instance tells that of the others, in JSON. */
  | { readonly type: 'presence'; readonly target: Target; readonly text: string }

/** What one instance wants to know of all others. */
export interface Question {
  readonly type: 'count' | 'members' | 'present'
  readonly target: Target
}

/** A member, as an instance tells the others of it. */
export interface Described {
  readonly id: string
  readonly userId: string | undefined
  readonly info: unknown
}

/** What one instance answers: how many, and who where that was asked. */
export interface Answer {
  readonly count: number
  readonly members: readonly Described[]
}

/** What an instance that was asked has answered. */
export interface PeerAnswer extends Answer {
  /** The instance. */
  readonly from: string
}

/** What the answers of the other instances came to. */
export interface Answers {
  readonly answers: readonly PeerAnswer[]
  /** Instances that did not answer in time. */
  readonly missing: readonly string[]
}

/** What became of a publish. */
export type PublishResult = 'sent' | 'queued' | 'failed'

/** What was published and did not arrive here. */
export interface Loss {
  /** What it was for: `all`, `room:<name>` or `user:<id>`. */
  readonly topic: string
  /** The instance that published it. */
  readonly from: string
  /** How many, at least. */
  readonly count: number
}
