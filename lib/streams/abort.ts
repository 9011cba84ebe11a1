// Tells the errors of an abort from those of the application.

/** Returns whether an error only says that the signal aborted: its reason, or an `AbortError`. */
export function isAbortOf(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError')
}

/** Returns the reason of a cancel by the client. */
export function abortError(): DOMException {
  return new DOMException('The client cancelled the request.', 'AbortError')
}
