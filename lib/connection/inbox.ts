// Messages that arrive before a listener is there.

import { BY_INBOX, type Reading } from './reading.ts'

/** One message as ws emits it: its data, and whether it is binary. */
export type RawMessage = readonly unknown[]

/** Above either mark the connection stops reading: TCP backpressure. */
const MAX_MESSAGES = 64
const MAX_BYTES = 64 * 1024
/** How long messages wait for somebody to listen, in milliseconds. */
const PATIENCE = 10_000

/** What an inbox needs of its connection. */
export interface InboxOwner {
  /** Whether a listener for `message` is there now. */
  readonly hears: boolean
  /** Emits one message to the listeners. */
  deliver(message: RawMessage): void
  /** Reading from the client, to stop it when too much waits. */
  readonly reading: Reading
  /** The inbox is empty, or was discarded with so many messages in it; it is not used again. */
  inboxEmptied(discarded: number): void
}

/**
 * Messages that arrived while the handler runs, before there is a listener. They are kept in order, the
 * socket is paused above a mark, and the first listener gets them, each in its turn.
 *
 * It exists only while there is something in it. Its timer and its pause end with it.
 */
export class Inbox {
  readonly #owner: InboxOwner
  readonly #messages: RawMessage[] = []
  readonly #patience: NodeJS.Timeout
  #bytes = 0
  #paused = false
  #flushing = false
  #ended = false
  /** Late `close` listeners, told after the last message. */
  readonly #afterwards: (() => void)[] = []

  constructor(owner: InboxOwner) {
    this.#owner = owner
    this.#patience = setTimeout(discardInbox, PATIENCE, this)
    this.#patience.unref()
  }

  /** Appends a message. */
  push(message: RawMessage): void {
    this.#messages.push(message)
    this.#bytes += sizeOf(message[0])
    if (this.#paused) return
    if (this.#messages.length >= MAX_MESSAGES || this.#bytes >= MAX_BYTES) {
      this.#paused = true
      this.#owner.reading.stop(BY_INBOX)
    }
  }

  /** Somebody began to listen: hand the messages over, from the next tick. */
  flushSoon(): void {
    if (this.#flushing || this.#ended) return
    this.#flushing = true
    process.nextTick(flushInbox, this)
  }

  /** Run something once the waiting messages are handed over or discarded. */
  afterwards(task: () => void): void {
    this.#afterwards.push(task)
  }

  /** Hand over one by one while somebody listens: `once` takes one and leaves the rest. */
  flush(): void {
    this.#flushing = false
    while (!this.#ended && this.#messages.length > 0 && this.#owner.hears) {
      const message = this.#messages.shift() as RawMessage
      this.#bytes -= sizeOf(message[0])
      this.#owner.deliver(message)
    }
    if (this.#messages.length === 0) this.#end(0)
  }

  /** Discards the messages when no listener will come. */
  discard(): void {
    this.#end(this.#messages.length)
  }

  #end(discarded: number): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#patience)
    this.#messages.length = 0
    this.#owner.inboxEmptied(discarded)
    if (this.#paused) this.#owner.reading.goOn(BY_INBOX)
    for (const task of this.#afterwards) task()
  }
}

function discardInbox(inbox: Inbox): void {
  inbox.discard()
}

function flushInbox(inbox: Inbox): void {
  inbox.flush()
}

/** Bytes of a message in any of ws's forms. */
export function sizeOf(data: unknown): number {
  if (Array.isArray(data)) return data.reduce((sum, part) => sum + sizeOf(part), 0)
  return (data as { byteLength?: number }).byteLength ?? 0
}
