/** The longest delay of `setTimeout`, in milliseconds: 2^31 - 1. */
const LONGEST = 2_147_483_647

/** One timer that is set again and again. */
export interface Timer {
  /** Call `fn` once, after `delay` milliseconds, which may be more than 2^31. What was set before is off. */
  set(fn: () => void, delay: number): void
  clear(): void
}

/** A timer that nothing is set on. */
export function createTimer(): Timer {
  let handle: ReturnType<typeof setTimeout> | undefined
  const clear = (): void => clearTimeout(handle)
  const set = (fn: () => void, delay: number): void => {
    clear()
    const rest = delay - LONGEST
    handle = setTimeout(rest > 0 ? () => set(fn, rest) : fn, Math.min(delay, LONGEST))
  }
  return { set, clear }
}
