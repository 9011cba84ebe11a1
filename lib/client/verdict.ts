// Decides what a client does after a close code.

/**
 * The final close codes: the server closed on purpose (1000, 1005), the client broke a rule (1002,
 * 1003, 1007 to 1010), or the application closed with its own code (3000 to 4999). The exceptions
 * are temporary: bad messages (4400), a timeout or a limit (4408, 4425, 4429), a failed server
 * (45xx), a slow consumer (4610), lost state (4611).
 */
const FINAL = /^(100[0235789]|1010|3...|4(?!4(00|08|25|29)|5|61[01])...)$/

/**
 * Returns whether a client stops after a close with this code: docs/protocol.md, section 7. 4400 is
 * final for a rejected handshake only. After 4401, the token decides.
 */
export function isFinal(code: number, wasOpen: boolean): boolean {
  return FINAL.test(`${code}`) || (code === 4400 && !wasOpen)
}

/** The longest delay that a server may ask for: 10 minutes, in milliseconds. */
const LONGEST = 600_000

/** Returns the delay that a server asked for, in milliseconds, limited to 10 minutes. */
export function clampDelay(after: number): number {
  return Math.min(Math.max(after, 0), LONGEST)
}

/** Returns the delay that the close itself gives, in milliseconds, or undefined. */
export function delayOf(code: number, reason: string): number | undefined {
  if (code === 4611) return 0
  const found = code === 1012 && /retry in (\d{1,9}) ms/.exec(reason)
  return found ? clampDelay(Number(found[1])) : undefined
}
