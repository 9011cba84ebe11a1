/** Where errors go that nobody waits for. None of these functions throws. */
export interface Reporter {
  /** Something failed: to `onError`, if there is one. */
  failed(error: unknown): void
  /** A function of the application threw: without `onError`, as if nothing had caught it. */
  thrown(error: unknown): void
  /** Call a function of the application. `undefined`, if it throws. */
  guard<T>(fn: () => T): T | undefined
}

/** A reporter for an `onError`, which may throw itself. */
export function createReporter(onError: ((error: unknown) => void) | undefined): Reporter {
  const failed = (error: unknown): void => {
    try {
      onError?.(error)
    } catch (second) {
      uncaught(second)
    }
  }
  const thrown = onError ? failed : uncaught
  return {
    failed,
    thrown,
    guard(fn) {
      try {
        return fn()
      } catch (error) {
        thrown(error)
      }
    },
  }
}

function uncaught(error: unknown): void {
  const { reportError = rethrow } = globalThis as { reportError?: (error: unknown) => void }
  reportError(error)
}

function rethrow(error: unknown): void {
  setTimeout(() => {
    throw error
  })
}
