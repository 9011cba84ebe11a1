// The contract of a retry store: which requests have run, and their answers, for all instances.

/** How long a client sends a request again, in milliseconds from the first time. */
export const WINDOW = 120_000

/** How long a store keeps an answered request, in milliseconds: 30 s for a late message. */
export const KEPT: number = WINDOW + 30_000

/** What a store knows of a request. */
export type Known =
  /** An instance runs it. */
  | { readonly state: 'running'; readonly hash: string }
  /** It was run. The answer is null if it was not kept. */
  | { readonly state: 'done'; readonly hash: string; readonly answer: string | null }
  /** Nothing is known, or the instance that ran it has ended. */
  | { readonly state: 'unknown' }

/** The answer to a claim. */
export type Claim = Known | { readonly state: 'first' }

/**
 * Records requests, so that all instances together run each at most once. Methods that answer at
 * once may return a value in place of a promise. Ids and hashes have 22 to 43 characters of `A-Z a-z
 * 0-9 _ -`. An answer is a text of at most 16 KiB.
 */
export interface RetryStore {
  /**
   * Claims a request for this instance. MUST answer `first` to one claim of an id only, until
   * `KEPT` milliseconds after its `settle`; the caller then runs the request. MUST record the claim
   * before it answers.
   *
   * A request that is sent `again` and has no record MUST be answered with `unknown`, and not
   * claimed, unless the store is sure that it had none in the last `KEPT` milliseconds. A store that
   * began anew is not sure.
   *
   * When an instance has ended while it ran a request, the answer MUST become `unknown`, and MUST
   * NOT become `first`.
   *
   * Rejects when the engine is unreachable; nothing runs then. A claim that reached the engine
   * nevertheless MUST be removed, or become `unknown`.
   */
  claim(id: string, hash: string, again: boolean): Claim | Promise<Claim>
  /** Returns what is known, and claims nothing. */
  look(id: string): Known | Promise<Known>
  /**
   * Keeps the answer to a request that this instance has claimed; null for an answer that is not
   * kept. MUST try until it succeeds, or `KEPT` milliseconds have passed, or the store is closed.
   * MUST NOT reject.
   */
  settle(id: string, answer: string | null): void | Promise<void>
  /**
   * Stops, after one more attempt to keep the answers that wait. What still runs becomes `unknown`.
   * MUST NOT reject, and MUST settle.
   */
  close(): void | Promise<void>
}

/**
 * Opens the store of one hub, with the id of its instance. MUST return at once, and MUST NOT throw
 * because the engine is unreachable.
 */
export type OpenRetries = (id: string) => RetryStore
