// Reports errors that no promise carries.

/** Reports errors that no promise carries. Its functions never throw. */
export interface Reporter {
  /** Passes an error to `onError`, if set. */
  failed(error: unknown): void
  /** Passes an error of the application to `onError`; without it, raises it as uncaught. */
  thrown(error: unknown): void
  /** Calls a function of the application. Returns undefined when it throws. */
  guard<T>(fn: () => T): T | undefined
}

/** Creates a reporter. `onError` may throw: its error is raised as uncaught. */
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
