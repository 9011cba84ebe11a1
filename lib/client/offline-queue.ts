// The queue of messages that wait for a connection.
import { byteLength } from './envelope.ts'
import type { Outgoing } from './outgoing.ts'
import type { QueueOptions } from './settings.ts'

/** Messages that wait for a connection, in order. */
export interface OfflineQueue {
  /** Adds a message. Returns false when the queue is full. */
  add(item: Outgoing): boolean
  delete(item: Outgoing): void
  /** Passes on each message, including messages added meanwhile, until `take` returns false. */
  drain(take: (item: Outgoing) => boolean): void
}

/** Creates a bounded queue. With `false`, it accepts no message. */
export function createOfflineQueue(options: QueueOptions | false): OfflineQueue {
  const { messages = 100, bytes = 65_536 } = options || { messages: 0 }
  const sizes = new Map<Outgoing, number>()
  let total = 0

  const remove = (item: Outgoing): void => {
    total -= sizes.get(item) ?? 0
    sizes.delete(item)
  }
  return {
    add(item) {
      const size = byteLength(item.text)
      if (sizes.size >= messages || total + size > bytes) return false
      sizes.set(item, size)
      total += size
      return true
    },
    delete: remove,
    drain(take) {
      for (const item of sizes.keys()) {
        if (!take(item)) return
        remove(item)
      }
    },
  }
}
