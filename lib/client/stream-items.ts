// The items of a stream that wait for the application, and the credit of the server.

/** The largest credit that a server accepts at a time, in bytes. */
export const LARGEST = 245_760

type Result = IteratorResult<unknown, undefined>

/** A call of `next()` that waits for an item. */
interface Reader {
  resolve(result: Result): void
  reject(error: unknown): void
}

/** The items of one stream. */
export interface StreamItems {
  /** How many bytes the server may still send; below 0 after an item beyond the credit. */
  readonly granted: number
  /** How many items have arrived. */
  readonly received: number
  /** Takes an item of the server. */
  add(data: unknown, bytes: number): void
  /** Resolves with the next item, or after the last one with the end of the stream. */
  next(): Promise<Result>
  /** Ends the stream after the items that wait: with an error, or without one. */
  end(failure?: { readonly error: unknown }): void
  /** Drops the items that wait. Returns whether there were any. */
  drop(): boolean
  /** Sets the credit anew, for a stream that is resumed: at least 1 byte. */
  renew(): void
}

/**
 * Creates the items of a stream. The server may send `size` bytes at first; `grant` sends it
 * more, and the number of items that the application has taken.
 */
export function createStreamItems(
  size: number,
  grant: (bytes: number, items: number) => void,
): StreamItems {
  const items: { data: unknown; bytes: number }[] = []
  const readers: Reader[] = []
  // Granted, waiting and taken bytes are always `size` together.
  let granted = size
  let waiting = 0
  /** Bytes that the application took, and for which the server has no new credit yet. */
  let taken = 0
  let received = 0
  let delivered = 0
  let over = false
  let failure: { readonly error: unknown } | undefined

  const take = (bytes: number): void => {
    delivered++
    taken += bytes
    if (over || taken * 2 < size) return
    while (taken > 0) {
      const more = Math.min(taken, LARGEST)
      granted += more
      taken -= more
      grant(more, delivered)
    }
  }

  return {
    get granted() {
      return granted
    },
    get received() {
      return received
    },
    add(data, bytes) {
      granted -= bytes
      received++
      const reader = readers.shift()
      if (reader) {
        reader.resolve({ done: false, value: data })
        take(bytes)
      } else {
        waiting += bytes
        items.push({ data, bytes })
      }
    },
    async next() {
      const first = items.shift()
      if (first) {
        waiting -= first.bytes
        take(first.bytes)
        return { done: false, value: first.data }
      }
      if (failure) {
        const { error } = failure
        failure = undefined
        throw error
      }
      return over ? END : new Promise((resolve, reject) => readers.push({ resolve, reject }))
    },
    end(why) {
      over = true
      failure = readers.length > 0 ? undefined : why
      for (const reader of readers.splice(0)) {
        if (why) reader.reject(why.error)
        else reader.resolve(END)
      }
    },
    drop() {
      return items.splice(0).length > 0
    },
    renew() {
      granted = Math.max(1, size - waiting)
      taken = size - waiting - granted
    },
  }
}

/** The end of an iteration. */
export const END: Result = { done: true, value: undefined }
