/** Whom something is for, in words that can travel between instances. */
export interface Target {
  readonly kind: 'all' | 'connections' | 'users' | 'rooms'
  /** Ids of connections, users, or rooms; empty for all. */
  readonly names: readonly string[]
  /** Ids of connections that are left out. */
  readonly except: readonly string[]
  readonly exceptUsers: readonly string[]
}

/** What an instance subscribes to in order to get what is for a room or a user. */
export function topicOf(kind: 'rooms' | 'users', name: string): string {
  return `${kind === 'rooms' ? 'room' : 'user'}:${name}`
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

/** What one instance wants to know of all others. */
export interface Question {
  readonly type: 'count' | 'members'
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

/** One hub, as its adapter sees it. */
export interface Instance {
  /** Its name, unique among all. */
  readonly id: string
  /** Carry out what another instance asks. Never throws. */
  deliver(order: Order): void
  /** Answer what another instance wants to know. Never throws. */
  answer(question: Question): Answer
}

/** What the answers of the other instances came to. */
export interface Answers {
  readonly answers: readonly Answer[]
  /** Instances that did not answer in time. */
  readonly missing: readonly string[]
}

/** How the system outside is doing. */
export interface BackplaneStatus {
  /** `none`: there is no other instance to tell. */
  readonly state: 'none' | 'connecting' | 'ready' | 'degraded'
  /** Since when, in epoch milliseconds. */
  readonly since: number
  /** What waits for it to come back. */
  readonly queued: { readonly messages: number; readonly bytes: number }
}

/** What became of a publish. */
export type PublishResult = 'sent' | 'queued' | 'failed'

/** The line of one hub to all others. */
export interface Backplane {
  readonly status: BackplaneStatus
  /**
   * From now on deliver what is for this topic: `room:<name>` or `user:<id>`. Resolves when that
   * holds on the outside; never rejects. What is for all, or for connections, is always delivered.
   */
  subscribe(topic: string): Promise<void>
  unsubscribe(topic: string): void
  /**
   * Have all others deliver an order. MUST keep the order of the calls for every receiver, MUST NOT
   * deliver it to this hub, MUST NOT throw or reject.
   */
  publish(order: Order): Promise<PublishResult>
  /** Ask all others. MUST resolve at the latest after `timeout` milliseconds, with what has come. */
  ask(question: Question, timeout: number): Promise<Answers>
  /** Let go of the outside. Nothing is delivered from then on. MUST NOT reject. */
  close(): Promise<void>
}

/** Joins the hubs of several instances. The option `adapter` of `koaWs()` takes one. */
export interface Adapter {
  /** Called once by each hub that uses it, when the hub is made. */
  connect(instance: Instance): Backplane
}
