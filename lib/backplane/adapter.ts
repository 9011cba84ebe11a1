// The contract of an adapter: payloads on topics.
import { AdapterError } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import type { OpenHistory } from '../history/store.ts'
import type { OpenRetries } from '../retry/store.ts'

/**
 * Carries payloads between the hubs of several instances. It asks of an engine such as Redis only
 * what koaws needs. Order, loss, peers, questions and queueing during an outage are handled by the
 * hub, in the same way for every adapter. `adapterSuite` of `koaws/testing` tests an adapter.
 *
 * A topic is a string of up to 300 bytes: `all`, `instance:<id>`, `room:<name>` or `user:<id>`. The
 * application chooses the names, so that they may contain any character.
 */
export interface Adapter {
  /** The interval of an instance's beats to the other instances, in milliseconds. @default 2_000 */
  readonly heartbeat?: number | undefined
  /** The bounds of the queue during an outage of the engine; publishes beyond them fail. */
  readonly maxQueued?: MaxQueued | undefined
  /**
   * Connects a hub to the engine. Each hub calls it once, when the hub is created. MUST return at
   * once, MUST NOT throw because the engine is unreachable, and MUST NOT call an event before it
   * has returned.
   *
   * @param id the name of the instance, unique among all instances
   * @param events called by the link
   */
  connect(id: string, events: AdapterEvents): AdapterLink
  /**
   * Opens the history of a hub: the recorded messages of rooms and users, in one order for all
   * instances. A hub with the option `history` calls it once, after `connect` and with the same id.
   * Omit it for an engine that records nothing.
   */
  readonly history?: OpenHistory | undefined
  /**
   * Opens the record of the requests that clients send again, shared by all instances. Each hub
   * calls it once, after `connect` and with the same id. Without it, a request that arrives at
   * another instance than before is answered with `ERR_KOAWS_OUTCOME_UNKNOWN`.
   */
  readonly retries?: OpenRetries | undefined
}

/** The bounds of the queue for an engine. */
export interface MaxQueued {
  /**
   * The largest number of messages. Messages to the same rooms in one turn are queued together.
   * @default 100_000
   */
  messages?: number | undefined
  /** The largest total size, in bytes. @default 16_777_216 */
  bytes?: number | undefined
}

/** The callbacks of a link. They never throw. */
export interface AdapterEvents {
  /**
   * Receives a `payload` that arrived on a subscribed topic. It MUST be complete. It MAY be this
   * instance's own, it MAY arrive twice, and it MAY be foreign: the hub ignores all three. The hub
   * keeps parts of the payload: its memory MUST NOT be changed afterwards.
   *
   * @param topic the topic that the payload arrived on. An engine that limits publishers to some
   * topics MUST pass it: the hub then acts only on orders that may be published there. The link
   * calls this once for each subscribed topic of a payload
   */
  received(payload: Buffer, topic?: string): void
  /**
   * Reports that the link works: `publish` succeeds, and publishes on every subscribed topic
   * arrive. MUST be called again after each `down`, when all topics are subscribed again.
   */
  up(): void
  /**
   * Reports, with the `reason`, that payloads may be missed, or cannot be published. MUST be called for anything that
   * may have lost a payload, however short. Unsettled calls of `publish` reject.
   */
  down(reason: Error): void
  /**
   * Reports, with the `reason`, a failed attempt to reach the engine; another one follows. Called between `down`, or
   * the start, and `up`. `status().backplane.why` shows the reason.
   */
  failed?(reason: Error): void
  /**
   * Reports, with the `reason`, that the link is up, but impaired, for example because the engine refuses a
   * subscription. The state is `degraded` until it is called with null, or until `down`.
   */
  impaired?(reason: Error | null): void
  /**
   * Reports that the engine itself saw an instance end, by its `id`. Without it, the hub waits for the lease to
   * expire.
   */
  gone(id: string): void
}

/** The link of one hub to the engine. It keeps trying to reach the engine until it is closed. */
export interface AdapterLink {
  /** The folder in which the instances meet, if any; shown in `status().backplane`. */
  readonly folder?: string | undefined
  /** The expected number of instances, including this one; shown in `status().backplane`. */
  readonly expected?: number | undefined
  /**
   * Subscribes to `topics`. Resolves when publishes on them arrive. Rejects when the engine is
   * unreachable; the topics MUST then be subscribed before the next `up`.
   */
  subscribe(topics: readonly string[]): Promise<void>
  /**
   * Unsubscribes from topics, as far as possible.
   *
   * @param topics each was subscribed before
   */
  unsubscribe(topics: readonly string[]): void
  /**
   * Publishes the `payload` on each of the `topics`. MUST keep the order of the calls for every receiver. Called
   * only between `up` and `down`.
   *
   * Resolves when the engine has accepted the payload. Rejects with an `AdapterError` with the code
   * `ERR_KOAWS_BACKPLANE_REFUSED` when the engine will never accept it. Any other rejection means
   * that the outcome is unknown: `down` and then `up` MUST follow, and the hub then publishes the
   * payload again, before all later ones.
   */
  publish(topics: readonly string[], payload: Buffer): Promise<unknown>
  /**
   * Disconnects from the engine. No event follows. MUST NOT reject, and MUST settle even if the
   * engine hangs.
   */
  close(): Promise<void>
}

/** A link that receives its own payloads, so that the hub can detect an engine that hangs. */
export interface EchoingLink extends AdapterLink {
  /** Tells the hub that every payload comes back. */
  readonly echoes: true
  /**
   * Replaces the connections: the echoes have stopped for too long. The hub has handled `down`;
   * `up` MUST follow when the new connections work.
   */
  restart(): void
}

export function isEchoing(link: AdapterLink): link is EchoingLink {
  return fieldsOf(link)['echoes'] === true
}

/**
 * Refuses one payload, because of its size or because the queue is full. Later payloads may
 * succeed, so that the state of the backplane does not change.
 */
export class PayloadRefused extends AdapterError {
  constructor(message: string) {
    super('ERR_KOAWS_BACKPLANE_REFUSED', message)
  }
}
