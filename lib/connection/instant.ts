/**
 * The instants that `expiresAt` may be given as, in epoch milliseconds; null means never.
 *
 * @throws TypeError for anything else, and for what looks like seconds
 */
export function epochMilliseconds(value: Date | number | null): number | null {
  if (value === null) return null
  const at = value instanceof Date ? value.getTime() : value
  if (typeof at !== 'number' || !Number.isFinite(at)) {
    throw new TypeError('expiresAt must be a Date, epoch milliseconds, or null for never')
  }
  if (at < 1e11) {
    throw new TypeError(
      `expiresAt is ${at}: that is in 1973 or before. Are these seconds? Multiply by 1000.`,
    )
  }
  return Math.floor(at)
}
