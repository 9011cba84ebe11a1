// `StreamClaim`: decides whether a stream that can be resumed runs on this instance.

import type { StreamedEnvelope } from '../protocol/streams.ts'
import type { StreamSender } from '../streams/stream-sender.ts'
import type { PartsHost, StreamAttempt } from './stream-parts.ts'

/** The claim of a key by a stream. Until it is decided, a request that resumes the stream waits. */
export class StreamClaim {
  readonly #sender: StreamSender
  readonly #attempt: StreamAttempt
  readonly #refused: () => void
  #decided: () => void = () => {}

  /** @param refused called when another instance has the key: the sender is of no use */
  constructor(sender: StreamSender, attempt: StreamAttempt, refused: () => void) {
    this.#sender = sender
    this.#attempt = attempt
    this.#refused = refused
    sender.claimed = new Promise((resolve) => {
      this.#decided = resolve
    })
  }

  /**
   * Resolves to whether the handler runs here: no instance has run it, or runs it.
   * @throws MessageError when that cannot be recorded
   */
  async isFirst(): Promise<boolean> {
    let isFirst = false
    try {
      isFirst = await this.#attempt.first()
      return isFirst
    } finally {
      if (!isFirst) this.#refused()
      this.decide()
    }
  }

  /** The handler has been called, or never is. */
  decide(): void {
    this.#sender.claimed = null
    this.#decided()
  }

  /** The handler has settled. */
  over(): void {
    this.#attempt.over()
  }
}

/** Returns the claim of a stream; null for a stream that cannot be resumed, or is not recorded. */
export function claimOf(
  sender: StreamSender | null,
  name: string | null,
  envelope: StreamedEnvelope,
  { streams, attempt }: PartsHost,
): StreamClaim | null {
  const claimed = sender && name !== null && attempt(envelope)
  return claimed ? new StreamClaim(sender, claimed, () => streams.forget(name, sender)) : null
}
