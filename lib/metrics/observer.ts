// Counts what the channels of `node:diagnostics_channel` tell of one hub.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type {
  AnsweredEvent,
  BackplaneEvent,
  CloseEvent,
  ConnectionEvent,
  HandledEvent,
  LostEvent,
  MessageEvent,
  PongEvent,
  PublishedEvent,
  RecoveryEvent,
  SentEvent,
  ShutdownEvent,
  UpgradeEvent,
} from '../index.ts'
import { ConnectionCounts } from './connection-counts.ts'
import { Families } from './families.ts'
import type { ObservedConnection, ObservedHub } from './hub.ts'
import { MessageCounts } from './message-counts.ts'
import { ServiceCounts } from './service-counts.ts'

type Listener = (event: never) => void

/** The events of one hub, as families. Exporters share it: `observe()`. */
export class Observer {
  readonly families: Families = new Families()
  readonly messages: MessageCounts = new MessageCounts(this.families)
  /** Called once, when the hub has closed. */
  readonly endings: Set<() => void> = new Set()
  readonly #id: string
  readonly #hub: ObservedHub
  readonly #connections = new ConnectionCounts(this.families)
  readonly #services = new ServiceCounts(this.families)
  /** The connections of this hub: a channel tells of those of all hubs of the process. */
  readonly #mine = new WeakSet<object>()
  readonly #listeners: readonly [channel: string, listener: Listener][]
  #isSubscribed = true
  #hasEnded = false

  constructor(hub: ObservedHub) {
    this.#hub = hub
    this.#id = hub.status().id
    for (const connection of hub.localConnections.values()) this.#mine.add(connection)
    this.#listeners = [...this.#ofConnections(), ...this.#ofMessages(), ...this.#ofTheInstance()]
    for (const [channel, listener] of this.#listeners) subscribe(channel, listener as never)
  }

  /** Stops counting; the values stay. Idempotent. */
  stop(): void {
    if (!this.#isSubscribed) return
    this.#isSubscribed = false
    for (const [channel, listener] of this.#listeners) unsubscribe(channel, listener as never)
  }

  /** Whether the hub has closed. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  #ofConnections(): [string, Listener][] {
    const counts = this.#connections
    const mine = this.#mine
    return [
      [
        'koaws:upgrade',
        (event: UpgradeEvent) => {
          if (event.instance === this.#id) counts.decided(event)
        },
      ],
      [
        'koaws:connection',
        ({ connection }: ConnectionEvent) => {
          const known = this.#ownOf(connection)
          if (known === null) return
          mine.add(known)
          counts.opened(known)
        },
      ],
      [
        'koaws:close',
        (event: CloseEvent) => {
          const { connection } = event
          if (isObject(connection) && mine.delete(connection)) {
            counts.closed(event, connection as ObservedConnection)
          }
        },
      ],
      [
        'koaws:pong',
        ({ connection, rtt }: PongEvent) => {
          if (this.#isMine(connection)) counts.ponged(rtt)
        },
      ],
    ]
  }

  #ofMessages(): [string, Listener][] {
    const counts = this.messages
    return [
      [
        'koaws:message',
        (event: MessageEvent) => {
          if (this.#isMine(event.connection)) counts.received(event)
        },
      ],
      [
        'koaws:handled',
        (event: HandledEvent) => {
          if (this.#isMine(event.connection)) counts.handled(event)
        },
      ],
      [
        'koaws:answered',
        (event: AnsweredEvent) => {
          if (this.#isMine(event.connection)) counts.answered(event)
        },
      ],
      [
        'koaws:sent',
        (event: SentEvent) => {
          const { instance, connection } = event
          if (instance === undefined ? this.#isMine(connection) : instance === this.#id) {
            counts.sent(event)
          }
        },
      ],
      [
        'koaws:recovery',
        (event: RecoveryEvent) => {
          if (this.#isMine(event.connection)) counts.recovered(event)
        },
      ],
    ]
  }

  #ofTheInstance(): [string, Listener][] {
    const counts = this.#services
    const own =
      <E extends { readonly instance: string }>(count: (event: E) => void) =>
      (event: E): void => {
        if (event.instance === this.#id) count(event)
      }
    return [
      ['koaws:backplane', own((event: BackplaneEvent) => counts.changed(event))],
      ['koaws:published', own((event: PublishedEvent) => counts.published(event))],
      ['koaws:lost', own((event: LostEvent) => counts.lost(event))],
      [
        'koaws:shutdown',
        own((event: ShutdownEvent) => {
          counts.stage(event)
          if (event.stage === 'end') this.#end()
        }),
      ],
    ]
  }

  #end(): void {
    this.#hasEnded = true
    for (const ending of this.endings) ending()
    this.endings.clear()
    // Later: a channel skips a subscriber when another one unsubscribes during an event.
    queueMicrotask(() => this.stop())
  }

  #isMine(connection: unknown): boolean {
    return isObject(connection) && this.#mine.has(connection)
  }

  /** Returns a connection that has just been announced, if it is of this hub. */
  #ownOf(connection: unknown): ObservedConnection | null {
    if (!isObject(connection) || !('id' in connection)) return null
    const own = this.#hub.localConnections.get(String(connection.id))
    return own === connection ? own : null
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

interface Use {
  readonly observer: Observer
  uses: number
}

const observers = new WeakMap<ObservedHub, Use>()

/** Returns the observer of a hub, which all exporters share, and a function that ends this use. */
export function observe(hub: ObservedHub): { observer: Observer; release: () => void } {
  const use = observers.get(hub) ?? { observer: new Observer(hub), uses: 0 }
  observers.set(hub, use)
  use.uses++
  let isReleased = false
  const release = (): void => {
    if (isReleased) return
    isReleased = true
    use.uses--
    if (use.uses > 0) return
    use.observer.stop()
    observers.delete(hub)
  }
  return { observer: use.observer, release }
}
