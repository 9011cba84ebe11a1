// The contract of a history store: recorded messages of a room or user, in one order for all instances.

/**
 * A place in the record of one log. A client holds one for each of its rooms, and presents it when it
 * returns.
 */
export interface Place {
  /** The life of the log: at most 32 characters of `A-Z a-z 0-9 _ -`, which sort by age as a string. */
  readonly epoch: string
  /** Counts the messages of this life of the log from 1; 0 is the place before the first. */
  readonly offset: number
  /** The key of the entry with this offset; empty at offset 0. */
  readonly key: string
}

/** What an instance records at once: one message or several, in order. */
export interface NewEntry {
  /** Random, 8 characters of `A-Z a-z 0-9 _ -`. The same at each attempt to record this entry. */
  readonly key: string
  /** The number of messages, from 1. */
  readonly count: number
  /** The messages, opaque to the engine. */
  readonly payload: Buffer
}

/** An entry as it was recorded. */
export interface Entry extends NewEntry {
  /** The offset of its last message. The first has `offset - count + 1`. */
  readonly offset: number
  /** The key of the entry before it; empty for the first of the epoch. */
  readonly previous: string
}

/** Why a log cannot say what followed a place. */
export type Missing =
  /** Entries after it were removed because of `messages`, `bytes` or `maxTotal`. */
  | 'trimmed'
  /** Entries after it were removed because of their age. */
  | 'expired'
  /** The log began anew, or another entry is at this offset. */
  | 'epoch'
  /** The log has not reached this offset. */
  | 'ahead'

/** The answer to a read: all entries after a place, or the reason why they cannot be given. */
export type Reading =
  | { readonly top: Place; readonly entries: readonly Entry[] }
  | { readonly top: Place; readonly missing: Missing }

/** What a store keeps. */
export interface HistoryLimits {
  /** The largest number of messages of one log. */
  readonly messages: number
  /** The largest size of one log, in bytes of payload. */
  readonly bytes: number
  /** How long a message is kept, in milliseconds. */
  readonly ttl: number
  /** The largest size of all logs together, in bytes. */
  readonly maxTotal: number
}

/** How long a log remembers its epoch and top after its last message, in milliseconds. */
export const REMEMBERED: number = 24 * 60 * 60 * 1000

/** The callbacks of a store. They never throw. */
export interface HistoryEvents {
  /**
   * Receives entries of a followed log, in order. Entries MAY be missing after a break of the engine,
   * MAY arrive twice, and MAY arrive late when the log moves to another process: the hub goes by
   * offsets and keys.
   *
   * @param log the log
   * @param epoch the epoch of all these entries
   * @param entries at least one
   */
  recorded(log: string, epoch: string, entries: readonly Entry[]): void
  /** Reports that the engine works. MUST be called again after each `down`. */
  up(): void
  /**
   * Reports that entries may be missed, or cannot be recorded.
   *
   * @param reason the error of the engine
   */
  down(reason: Error): void
}

/**
 * Records messages, and gives them to every instance in the same order. A log is a room or a user:
 * `room:<name>` or `user:<id>`. Methods that answer at once may return a value in place of a promise.
 */
export interface HistoryStore {
  /** Whether `append`, `read` and `top` always answer at once, and `recorded` is called within `append`. */
  readonly local: boolean
  /**
   * Records an entry at the end of a log, and gives the entry to every instance that follows the log. MUST keep the order of the calls for one log. MUST record an entry
   * at most once: the hub calls again, with the same key and in the same order, after a rejection
   * with an unknown outcome. MUST NOT give an entry to a follower before it is recorded.
   *
   * Resolves to the place of the entry's last message. Rejects with an `AdapterError`: with the code
   * `ERR_KOAWS_BACKPLANE_REFUSED` when nothing was recorded and another attempt is useless; any other
   * error means that the outcome is unknown, and `down` and then `up` MUST follow.
   *
   * @param log the log, which is created if necessary
   * @param entry the messages
   */
  append(log: string, entry: NewEntry): Place | Promise<Place>
  /**
   * Reads all entries after a place, or for null all that are kept. MUST answer with `missing` unless
   * the epoch and the key fit and every entry after the place is there. A place with offset 0 that was
   * given while the log did not exist fits for 24 hours. MUST NOT create a log.
   *
   * @param log the log
   * @param since a place that was given earlier, by this engine or by a client
   */
  read(log: string, since: Place | null): Reading | Promise<Reading>
  /**
   * Returns the place of the last message, also for a log that does not exist.
   *
   * @param log the log
   */
  top(log: string): Place | Promise<Place>
  /**
   * Begins to call `recorded` for a log. Resolves when later entries arrive.
   *
   * @param log the log
   */
  follow(log: string): void | Promise<void>
  /**
   * Stops to call `recorded` for a log.
   *
   * @param log the log
   */
  unfollow(log: string): void
  /**
   * Begins a new epoch, without entries, if the log does not hold the entry that an instance has seen:
   * the engine lost what it had recorded. Compares and sets in one step; otherwise does nothing.
   *
   * @param log the log
   * @param seen the place of an entry that an instance has delivered
   */
  renew(log: string, seen: Place): void | Promise<void>
  /** Stops. No event follows. MUST NOT reject, and MUST settle. */
  close(): void | Promise<void>
}

/** Opens the store of one hub. MUST return at once, and MUST NOT call an event before it has returned. */
export type OpenHistory = (id: string, limits: HistoryLimits, events: HistoryEvents) => HistoryStore
