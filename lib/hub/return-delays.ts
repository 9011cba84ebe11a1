/**
 * The shortest and the longest time over which clients come back, in milliseconds. With the shortest, about
 * 15 % of them come in one second.
 */
const SHORTEST = 6_500
const LONGEST = 60_000
/** Nobody comes before this: the next instance has to be there, and all have to have gone. */
const FLOOR = 500
/** In between, so many come back in a millisecond. */
const PER_MILLISECOND = 1

/**
 * When each of so many clients shall come back after a shutdown, in milliseconds from now: spread
 * evenly, in random order, so that the next instance is not met by all of them at once.
 */
export function returnDelays(count: number): number[] {
  const span = Math.min(LONGEST, Math.max(SHORTEST, count / PER_MILLISECOND))
  const delays = Array.from({ length: count }, (_, i) =>
    Math.round(FLOOR + ((i + Math.random()) / count) * span),
  )
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const delay = delays[i] as number
    delays[i] = delays[j] as number
    delays[j] = delay
  }
  return delays
}
