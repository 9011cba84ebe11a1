/**
 * Carries payloads between the hubs of several instances: what an engine such as Redis has to be able
 * to do for koaws, and no more. Order, loss, who is there, questions and what waits while the engine
 * is away are the hub's own, the same over every adapter. `adapterSuite` of `koaws/testing` proves one.
 *
 * A topic is a string of up to 300 bytes without control characters of its own making: `all`,
 * `instance:<id>`, `room:<name>` or `user:<id>`.
 */
export interface Adapter {
  /** How often an instance tells the others that it lives, in milliseconds. @default 2_000 */
  readonly heartbeat?: number | undefined
  /** What may wait while the engine is away; what comes beyond has failed. */
  readonly maxQueued?: MaxQueued | undefined
  /**
   * Called once by each hub that uses it, when the hub is made. MUST return at once, MUST NOT throw
   * because the engine is away, and MUST NOT call an event before it has returned.
   *
   * @param id the name of the instance, unique among all
   */
  connect(id: string, events: AdapterEvents): AdapterLink
}

/** Bounds of what waits for an engine. */
export interface MaxQueued {
  /** Payloads, each of them all that was sent to the same rooms in one turn. @default 10_000 */
  messages?: number | undefined
  /** All of them together. @default 16_777_216 */
  bytes?: number | undefined
}

/** What a link tells its hub. None of these throws. */
export interface AdapterEvents {
  /**
   * A payload has arrived on a topic that is subscribed. It MUST be whole. It MAY be one's own, it MAY
   * come twice, and it MAY be something that koaws never published: the hub ignores all three.
   * The hub keeps parts of it: its memory MUST NOT be written to again.
   */
  received(payload: Buffer): void
  /**
   * From now on `publish` works, and what is published on every topic that is subscribed arrives.
   * MUST be called again after each `down`, once all topics are subscribed anew.
   */
  up(): void
  /**
   * From now on something may be missed, or cannot be published. MUST be called for whatever may have
   * cost a payload, however short. What `publish` has not resolved rejects.
   */
  down(reason: Error): void
  /** The engine itself has seen that an instance ended. Without it the hub waits for its heartbeat. */
  gone(id: string): void
}

/** The link of one hub to the engine. It goes on trying to reach it until it is closed. */
export interface AdapterLink {
  /**
   * Have what is published on these topics arrive. Resolves when it does; rejects when the engine is
   * away, and then the topics MUST be subscribed before the next `up`.
   */
  subscribe(topics: readonly string[]): Promise<void>
  /** Have what is published on these topics arrive no more, as far as possible. */
  unsubscribe(topics: readonly string[]): void
  /**
   * Publish on each of these topics. MUST keep the order of the calls for every receiver. Called
   * between `up` and `down` only.
   *
   * Resolves when the engine has it. Rejects with an `AdapterError` of the code
   * `ERR_KOAWS_BACKPLANE_REFUSED` when the engine will never take it. Any other rejection means that
   * nobody knows: `down` and then `up` MUST follow, and the hub publishes it again then, before
   * everything later.
   */
  publish(topics: readonly string[], payload: Buffer): Promise<unknown>
  /** Let go of the engine. No event follows. MUST NOT reject, and MUST settle when the engine hangs. */
  close(): Promise<void>
}

/** A link whose own payloads come back to it: then the hub notices an engine that hangs. */
export interface EchoingLink extends AdapterLink {
  readonly echoes: true
  /**
   * Nothing has come back for too long: give the connections up and make new ones. `down` has been
   * taken care of; `up` MUST follow when they work.
   */
  restart(): void
}
