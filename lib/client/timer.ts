// A timer that can be set again and again, and does not keep a process alive.

/** The longest delay of `setTimeout`, in milliseconds: 2^31 - 1. */
const LONGEST = 2_147_483_647

/** A timer that can be set again and again. */
export interface Timer {
  /** Calls `fn` once, after `delay` milliseconds, which may exceed 2^31. */
  set(fn: () => void, delay: number): void
  clear(): void
}

/** Creates a timer, which keeps a Node process alive only if a promise is `waitedFor`. */
export function createTimer(waitedFor = false): Timer {
  let handle: ReturnType<typeof setTimeout> | undefined
  /** Identifies the latest call: a runtime may lack `clearTimeout`. */
  let current = 0
  const clear = (): void => {
    current++
    globalThis.clearTimeout?.(handle)
  }
  const set = (fn: () => void, delay: number): void => {
    clear()
    const mine = current
    const fire = (): void => {
      if (mine !== current) return
      if (delay > LONGEST) set(fn, delay - LONGEST)
      else fn()
    }
    handle = setTimeout(fire, Math.min(delay, LONGEST))
    if (!waitedFor) (handle as { unref?: () => void }).unref?.()
  }
  return { set, clear }
}
