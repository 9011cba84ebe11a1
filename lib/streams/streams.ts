// `Streams`: the open streams of one instance, and the resumable ones.
import { streamFault } from './faults.ts'
import { HeldBytes } from './held-bytes.ts'
import type { ResolvedStreamsOptions } from './options.ts'
import type { StreamRelay } from './relay.ts'
import type { StreamSender } from './stream-sender.ts'

/** The names in `status().drops` that belong to streams. */
export type StreamDrop =
  /** Streams beyond `perConnection` or `perUser`. */
  | 'streamLimit'
  /** Streams that ended because all streams held too many bytes. */
  | 'streamMemory'
  /** Streams that ended because the client took or sent nothing for too long. */
  | 'streamIdle'
  /** Items without credit. */
  | 'streamCredit'
  /** Streams that could not be resumed. */
  | 'streamLost'

/** The streams of one instance, in `hub.status()`. */
export interface StreamsStatus {
  /** Requests with a stream that have a running handler on this instance. */
  readonly open: number
  /**
   * Bytes that streams hold: items that may have to be sent again, received items that wait for a
   * handler, and 1,024 for each stream that can be resumed.
   */
  readonly bytes: number
}

/** What an entry counts in `bytes` beside its items. */
const ENTRY = 1_024

/** The streams of one instance: limits, and what can be resumed. */
export class Streams {
  readonly options: ResolvedStreamsOptions
  readonly held: HeldBytes
  /** Streams that run on other instances. Null without a backplane. */
  relay: StreamRelay | null = null
  readonly #perUser = new Map<string, number>()
  #open = 0
  readonly #resumable = new Map<string, StreamSender>()
  #isClosed = false

  /** @param count counts what is dropped */
  constructor(options: ResolvedStreamsOptions, count: (reason: StreamDrop) => void) {
    this.options = options
    this.held = new HeldBytes(
      options.bytes,
      (bytes) => this.#makeRoom(bytes),
      () => count('streamMemory'),
    )
  }

  /** For `hub.status()`. */
  get status(): StreamsStatus {
    return { open: this.#open, bytes: this.held.total }
  }

  /** Counts a stream of a user at the instance of its handler. Returns false beyond the limit. */
  enter(user: string | undefined): boolean {
    if (this.#isClosed) return false
    if (user !== undefined) {
      const open = this.#perUser.get(user) ?? 0
      if (open >= this.options.perUser) return false
      this.#perUser.set(user, open + 1)
    }
    this.#open++
    return true
  }

  leave(user: string | undefined): void {
    this.#open--
    if (user === undefined) return
    const open = (this.#perUser.get(user) ?? 0) - 1
    if (open > 0) this.#perUser.set(user, open)
    else this.#perUser.delete(user)
  }

  /**
   * Keeps a stream that can be resumed under a name. Returns false when the name is in use.
   * @throws MessageError `ERR_KOAWS_STREAM_MEMORY` beyond the limit
   */
  keep(name: string, sender: StreamSender): boolean {
    if (this.#resumable.has(name)) return false
    this.held.add(ENTRY)
    this.#resumable.set(name, sender)
    return true
  }

  forget(name: string, sender: StreamSender): void {
    if (this.#resumable.get(name) !== sender) return
    this.#resumable.delete(name)
    this.held.add(-ENTRY)
  }

  /** Returns the stream of this instance with a name. */
  find(name: string): StreamSender | undefined {
    return this.#resumable.get(name)
  }

  /** Cancels all streams that can be resumed: the instance ends. */
  close(): void {
    this.#isClosed = true
    for (const sender of [...this.#resumable.values()]) {
      sender.cancel(streamFault('ERR_KOAWS_STREAM_LOST'), true)
    }
    this.relay?.close()
  }

  /** Forgets the streams that are kept only for their answer, the oldest first. */
  #makeRoom(bytes: number): void {
    const enough = this.held.total - bytes
    for (const sender of this.#resumable.values()) {
      if (this.held.total <= enough) return
      if (sender.isAnswered) sender.cancel()
    }
  }
}

/** Returns the name of a stream that can be resumed: only the same user finds it, on the same path. */
export function streamName(
  user: string | undefined,
  path: string,
  type: string,
  key: string,
): string {
  return JSON.stringify([user ?? null, path, type, key])
}
