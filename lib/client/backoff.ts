/**
 * How long to wait before attempt `attempt`, counted from 0, in milliseconds: full jitter above a
 * floor, so that clients that lost their server together do not come back together.
 */
export function backoffDelay(attempt: number, min: number, max: number): number {
  return min + Math.random() * (Math.min(max, min * 2 ** (attempt + 1)) - min)
}
