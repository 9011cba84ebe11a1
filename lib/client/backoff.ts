// Computes the delay before an attempt to connect.

/**
 * Returns the delay before an attempt to connect, in milliseconds. Full jitter above a floor
 * spreads the reconnects of clients that lost the same server.
 *
 * @param attempt counted from 0
 */
export function backoffDelay(attempt: number, min: number, max: number): number {
  return min + Math.random() * (Math.min(max, min * 2 ** (attempt + 1)) - min)
}
