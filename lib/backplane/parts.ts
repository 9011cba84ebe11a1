// Cuts long lists into parts with a bounded number of entries and bytes.

/** The most entries in one part. */
export const PART = 1_000
/** The bytes of names in one part; a part has at least one name. */
export const PART_BYTES: number = 64 * 1024

/**
 * Cuts names into parts with bounded entries and bytes. Yields at least one part, which may be
 * empty.
 */
export function* inParts(names: Iterable<string>): Generator<{ part: string[]; last: boolean }> {
  let part: string[] = []
  let bytes = 0
  for (const name of names) {
    if (part.length >= PART || bytes >= PART_BYTES) {
      yield { part, last: false }
      part = []
      bytes = 0
    }
    part.push(name)
    bytes += name.length
  }
  yield { part, last: true }
}

/**
 * Resolves in a later turn of the event loop. An adapter may acknowledge a part within the same
 * turn, which would block other work.
 */
export function laterTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Resolves after `ms` milliseconds. Does not keep a process alive. */
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
