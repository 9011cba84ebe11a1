// Joins the connections of one instance, their rooms and users, and the backplane.

import type { Context } from 'koa'
import type { Adapter } from '../backplane/adapter.ts'
import { Backplane } from '../backplane/backplane.ts'
import type { BackplaneStatus } from '../backplane/host.ts'
import type { Connection } from '../connection/connection.ts'
import type { FrameDeflate } from '../connection/frame.ts'
import { newId } from '../connection/id.ts'
import type { History, HistoryStatus } from '../history/history.ts'
import { Audiences } from './audience.ts'
import { type ConnectionHooks, Connections } from './connections.ts'
import { Drops } from './drops.ts'
import { placeIn, reportError } from './error-place.ts'
import { Instances } from './instances.ts'
import { LocalMembers } from './local-members.ts'
import {
  type HistoryParts,
  openHistory,
  openRetries,
  openStreams,
  type ResolvedStreamsOptions,
  type Retries,
  type Streams,
  type StreamsStatus,
} from './open-parts.ts'
import type { ResolvedPresence } from './presence/options.ts'
import { Presence, type PresenceHost, publicInfo } from './presence/presence.ts'
import { Revocations } from './revocations.ts'
import { Roster } from './roster.ts'
import { UserConnections, type UserLimit } from './user-limit.ts'

export type {
  AskOptions,
  InstanceAnswer,
  InstanceAnswers,
  InstanceHandler,
} from './instance-questions.ts'

/** A snapshot of a hub. */
export interface HubStatus {
  /** The name of this instance. */
  readonly id: string
  /**
   * Whether this instance should get traffic. It is false after `close()` is called. With the
   * option `ready`, it is also false until the backplane has been ready once, and while
   * `maxConnections` is reached.
   */
  readonly ready: boolean
  /** Why `ready` is false; empty when it is true. */
  readonly reasons: readonly string[]
  /** Open connections of this instance. */
  readonly connections: number
  /** Rooms with a member on this instance. */
  readonly rooms: number
  /** Users with a connection to this instance. */
  readonly users: number
  /** Upgrades that are still undecided. */
  readonly pending: number
  /** Whether `close()` was called. */
  readonly draining: boolean
  /** The state of the history; null without the option `history`. */
  readonly history: HistoryStatus | null
  /** The streams of requests. */
  readonly streams: StreamsStatus
  /** The state of the backplane. */
  readonly backplane: BackplaneStatus
  /** Number of rejections, dropped messages and pauses, by reason. */
  readonly drops: Record<string, number>
}

/** The options of a hub. */
export interface HubOptions extends Omit<ConnectionHooks, 'patience'>, HistoryParts {
  readonly handshakeTimeout: number
  readonly perMessageDeflate:
    | false
    | { readonly threshold?: number | undefined; readonly zlibDeflateOptions?: object | undefined }
  readonly maxPerUser: UserLimit | undefined
  readonly adapter: Adapter | undefined
  readonly presence: ResolvedPresence | undefined
  readonly streams: ResolvedStreamsOptions
}

/** All connections of one instance, their rooms and users, and the backplane. */
export class HubCore implements PresenceHost {
  readonly id: string = newId()
  readonly roster: Roster
  readonly revocations: Revocations
  readonly perUser: UserConnections | null
  readonly members: LocalMembers
  readonly audiences: Audiences
  readonly instances: Instances
  readonly backplane: Backplane | null
  readonly history: History | null
  readonly retries: Retries
  readonly streams: Streams
  readonly connections: Connections
  readonly #presence: Presence | null
  readonly #presenceInfo: ResolvedPresence['info'] | undefined
  readonly #drops = new Drops(this.id)
  readonly #since = Date.now()
  #app: Context['app'] | null = null
  #hasSeveralApps = false

  constructor(options: HubOptions) {
    const { adapter, presence, maxPerUser, handshakeTimeout, history } = options
    this.roster = new Roster((topic, here) => this.#topicChanged(topic, here))
    this.perUser = maxPerUser ? new UserConnections(maxPerUser) : null
    this.revocations = new Revocations(handshakeTimeout)
    const infoOf = (connection: Connection): unknown => this.#infoOf(connection)
    this.members = new LocalMembers(
      this.roster,
      frameDeflate(options),
      this.revocations,
      this.#drops,
      infoOf,
    )
    this.#presence = presence ? new Presence(presence, this) : null
    this.#presenceInfo = presence?.info
    if (this.#presence) this.roster.rooms.watchers.push(this.#presence)
    this.instances = new Instances(this.id, this.members, this.#drops, this.#presence, {
      peers: () => this.backplane?.peers ?? [],
      tell: (to, text) => this.#tell(to, text),
      failed: (error, where) => this.failed(error, where),
    })
    this.backplane = adapter ? new Backplane(adapter, this.id, this.instances) : null
    this.history = history
      ? openHistory(history, options.openHistory, adapter?.maxQueued, frameDeflate(options), this)
      : null
    this.retries = openRetries(this.id, adapter?.retries)
    this.streams = openStreams(options.streams, this.#drops, this.backplane && this.instances, {
      peers: () => this.backplane?.peers ?? [],
      tell: (to, text) => this.#tell(to, text),
    })
    this.audiences = new Audiences(
      this.members,
      this.backplane,
      this.history,
      this.retries,
      this.streams,
    )
    this.connections = new Connections(
      { ...options, patience: handshakeTimeout },
      this.roster,
      this.revocations,
      this.perUser,
      this.#drops,
      this.audiences,
    )
  }

  /** The app that uses the hub; null until the first is known. */
  get app(): Context['app'] | null {
    return this.#app
  }

  /** Whether forwarded headers are trusted; undefined while that is unknown. */
  get proxy(): boolean | undefined {
    return this.#hasSeveralApps ? undefined : (this.#app?.proxy as boolean | undefined)
  }

  /** Records an app that uses the hub. */
  know(app: Context['app']): void {
    if (this.#app === app) return
    if (this.#app === null) this.#app = app
    else if (this.#app.proxy !== app.proxy) this.#hasSeveralApps = true
  }

  /** Reports an error to the app of the ctx, or without a ctx to the app that uses the hub. */
  report(error: unknown, ctx: Context | null, connection?: Connection): void {
    const app = ctx?.app ?? this.#app
    if (app) reportError(app, error, connection ? placeIn(ctx, connection) : ctx)
  }

  failed(error: unknown, where: string): void {
    if (this.#app) reportError(this.#app, error, where)
  }

  count(reason: string, many = 1, connection?: unknown): void {
    this.#drops.add(reason, many, connection)
  }

  /** Tells another instance something that is of no use later. */
  #tell(to: string, text: string): boolean {
    if (this.backplane?.status.state !== 'ready') return false
    this.backplane.note(to, text)
    return true
  }

  #infoOf(connection: Connection): unknown {
    const info = this.#presenceInfo
    return info && publicInfo(info, connection, (error, where) => this.failed(error, where))
  }

  /** Returns the part of `status()` that the hub knows; the plugin adds the rest. */
  status(): Omit<HubStatus, 'ready' | 'reasons' | 'pending' | 'draining'> {
    return {
      id: this.id,
      connections: this.connections.byId.size,
      rooms: this.roster.rooms.members.size,
      users: this.roster.users.size,
      history: this.history?.status ?? null,
      streams: this.streams.status,
      backplane: this.backplane?.status ?? {
        state: 'none',
        why: 'the option "adapter" is not set',
        since: this.#since,
        queued: { messages: 0, bytes: 0 },
        instances: 0,
        lost: 0,
      },
      drops: this.#drops.snapshot(),
    }
  }

  async closeBackplane(): Promise<void> {
    this.#presence?.close()
    this.instances.questions.close()
    this.streams.close()
    await this.retries.close()
    await this.history?.close()
    await this.backplane?.close()
  }

  /** Updates subscriptions when a topic gets its first connection here, or loses its last. */
  #topicChanged(topic: string, here: boolean): Promise<void> | undefined {
    if (topic.startsWith('user:')) this.#presence?.userChanged(topic.slice(5), here)
    const followed = this.history?.changed(topic, here)
    if (here) {
      const subscribed = this.backplane?.subscribe(topic)
      return followed && subscribed ? both(followed, subscribed) : (followed ?? subscribed)
    }
    this.backplane?.unsubscribe(topic)
    return undefined
  }
}

async function both(...waits: Promise<void>[]): Promise<void> {
  await Promise.all(waits)
}

/** Returns how frames for many connections are compressed; null when compression is off. */
function frameDeflate({ perMessageDeflate }: HubOptions): FrameDeflate | null {
  if (!perMessageDeflate) return null
  const { threshold = 1024, zlibDeflateOptions } = perMessageDeflate
  return { threshold, options: zlibDeflateOptions as FrameDeflate['options'] }
}
