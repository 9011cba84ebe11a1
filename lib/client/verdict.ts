/**
 * A normal end (1000, 1005), what is not allowed (1002, 1003, 1007 to 1010), what is not wanted (4000 +
 * a status of the 400s, but for 401, 408, 425, 429), replaced (4612), version (4613).
 */
const FINAL = /^(100[0235789]|1010|44(?!01|08|25|29)..|461[23])$/

/**
 * Whether a client stops after a close with this code: docs/protocol.md, section 7. Not after 4401,
 * which takes a new token. After others, which may be the application's own, it backs off.
 */
export function isFinal(code: number): boolean {
  return FINAL.test(`${code}`)
}

/** The longest time for which a server may send a client away: 10 minutes. */
const LONGEST = 600_000

/** How long a server may make a client wait, where it asks for so many milliseconds. */
export function clampDelay(after: number): number {
  return Math.min(Math.max(after, 0), LONGEST)
}

/** What the close itself says of the delay: 4611, or 1012 where the bye did not reach the client. */
export function delayOf(code: number, reason: string): number | undefined {
  if (code === 4611) return 0
  const found = code === 1012 && /retry in (\d{1,9}) ms/.exec(reason)
  return found ? clampDelay(Number(found[1])) : undefined
}
