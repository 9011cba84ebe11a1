import { utf8 } from './envelope.ts'
import type { Outgoing } from './outgoing.ts'
import type { QueueOptions } from './settings.ts'

/** Messages that wait for a connection, in order. */
export interface OfflineQueue {
  /** Take a message, unless that is more than may wait. */
  add(item: Outgoing): boolean
  delete(item: Outgoing): void
  /** Hand on each message, those included that come meanwhile, until `take` takes no more. */
  drain(take: (item: Outgoing) => boolean): void
}

/** A queue with bounds; `false`: nothing waits. */
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
      const size = utf8(item.text).length
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
