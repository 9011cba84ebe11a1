// The orders, questions and answers between instances, and their topics.

/** The target of an order, in a form that travels between instances. */
export interface Target {
  readonly kind: 'all' | 'connections' | 'users' | 'rooms'
  /** The ids of connections or users, or the names of rooms; empty for all. */
  readonly names: readonly string[]
  /** The ids of excluded connections. */
  readonly except: readonly string[]
  readonly exceptUsers: readonly string[]
  /** Rooms with excluded members: these get the message from the history of the room. */
  readonly exceptRooms?: readonly string[]
}

/** The topic of every instance. */
export const EVERYBODY = 'all'

/** Returns the topic of a room or a user. */
export function topicOf(kind: 'rooms' | 'users', name: string): string {
  return `${kind === 'rooms' ? 'room' : 'user'}:${name}`
}

/** Returns the topic of one instance. */
export function topicOfInstance(id: string): string {
  return `instance:${id}`
}

/** Returns the topics of a target. */
export function topicsOf({ kind, names }: Target): readonly string[] {
  if (kind === 'all' || kind === 'connections') return [EVERYBODY]
  return names.map((name) => topicOf(kind, name))
}

/**
 * Returns the topics that an order is published on. `close` and `leave` go to every instance. An
 * instance that is about to accept the user, or has an unconfirmed subscription, has not
 * subscribed to the user's topic yet.
 */
export function topicsOfOrder({ type, target }: Order): readonly string[] {
  return type === 'close' || type === 'leave' ? [EVERYBODY] : topicsOf(target)
}

/** An order that removes connections from rooms or closes them. Has an id if it is recorded in a history, too. */
export type Change =
  | {
      readonly type: 'leave'
      readonly target: Target
      readonly id?: string
      readonly rooms: readonly string[]
    }
  | {
      readonly type: 'close'
      readonly target: Target
      readonly id?: string
      readonly code: number
      readonly reason: string
    }

/** An order of one instance to all others. */
export type Order =
  | {
      readonly type: 'send'
      readonly target: Target
      /**
       * The complete unmasked frame (RFC 6455, section 5.2), so that receivers need not encode it
       * again.
       */
      readonly frame: Buffer
      /** Only for members that speak `koaws.v1`. */
      readonly pushed: boolean
      readonly volatile: boolean
    }
  | { readonly type: 'join'; readonly target: Target; readonly rooms: readonly string[] }
  | Change
  /** A presence message to other instances, in JSON. */
  | { readonly type: 'presence'; readonly target: Target; readonly text: string }

/** A question of one instance to all others. */
export interface Question {
  readonly type: 'count' | 'members' | 'present'
  readonly target: Target
}

/** A member, as an instance describes it to the others. */
export interface Described {
  readonly id: string
  readonly userId: string | undefined
  readonly info: unknown
}

/** The answer of one instance: the count, and the members if the question asks for them. */
export interface Answer {
  readonly count: number
  readonly members: readonly Described[]
}

/** The answer of a peer. */
export interface PeerAnswer extends Answer {
  /** The instance that answered. */
  readonly from: string
}

/** The answers of the other instances. */
export interface Answers {
  readonly answers: readonly PeerAnswer[]
  /** Instances that did not answer in time. */
  readonly missing: readonly string[]
}

/** The result of a publish. */
export type PublishResult = 'sent' | 'queued' | 'failed'

/** Publishes that did not arrive here. */
export interface Loss {
  /** The topic: `all`, `room:<name>` or `user:<id>`. */
  readonly topic: string
  /** The instance that published the messages. */
  readonly from: string
  /** The number of messages, at least. */
  readonly count: number
}
