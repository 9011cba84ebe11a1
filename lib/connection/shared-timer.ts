// Starts timers that several connections share.

import { AsyncResource } from 'node:async_hooks'

/** A shared timer does not run in the context of the request that happened to start it, nor keep it in memory. */
const noRequest = new AsyncResource('koaws.timer', { requireManualDestroy: true })

/** Calls back after `delay` milliseconds, outside of any async context. Does not keep the process alive. */
export function startSharedTimer<T>(
  callback: (given: T) => void,
  delay: number,
  given: T,
): NodeJS.Timeout {
  return noRequest.runInAsyncScope(setTimeout<[T]>, null, callback, delay, given).unref()
}
