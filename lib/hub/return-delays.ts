/** Nobody comes before this, in milliseconds: the next instance has to be there, and all have to have gone. */
const FLOOR = 500
/** The shortest and the longest time over which clients come back from then on, in milliseconds. */
const SHORTEST = 1_000
const LONGEST = 60_000
/**
 * Few clients come one in so many milliseconds, until they take so long: then about 11 % of them come in
 * a second, which leaves room for whatever holds some of them up.
 */
const EACH = 100
const FEW = 9_000
/** Many come so many in a millisecond. */
const PER_MILLISECOND = 1

/**
 * When each of so many clients shall come back after a shutdown, in milliseconds from now: spread
 * evenly, in random order, so that the next instance is not met by all of them at once.
 */
export function returnDelays(count: number): number[] {
  const few = Math.min(FEW, Math.max(SHORTEST, count * EACH))
  const span = Math.min(LONGEST, Math.max(few, count / PER_MILLISECOND))
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
