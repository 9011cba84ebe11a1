// Ballots, which order the claims to a log, and epochs that sort after earlier ones.

import { timeOf, unborn } from '../../../history/place.ts'

/**
 * Returns a ballot above `last`. It begins with the clock of the machine, which outlives the
 * instances that knew the last ballot.
 */
export function nextBallot(last: string, now: number, id: string): string {
  return `${after(last, now)}.${id}`
}

/** Returns an epoch that begins now, and sorts after `last`. */
export function nextEpoch(last: string, now: number, random: string): string {
  return `${after(last, now)}${random}`
}

/** Returns the greater of two ballots or epochs. */
export function latest(one: string, other: string): string {
  return one > other ? one : other
}

function after(last: string, now: number): string {
  return unborn(Math.max(now, timeOf(last) + 1))
}
