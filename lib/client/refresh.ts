import { positive } from './envelope.ts'
import { createTimer } from './timer.ts'
import { type TokenSource, takeToken } from './token.ts'

/** A new token comes at least this long before the old one ends, where it lives longer. */
const MARGIN = 10_000

/** The shortest distance between two refreshes, whatever end a server names: it doubles, up to the margin. */
const SHORTEST = 1_000

/** Sends a new token on an open connection before the old one ends. */
export interface Refresh {
  /** The end of the authorisation, in epoch milliseconds; anything else means that it does not end. */
  arm(expiresAt: unknown): void
  stop(): void
}

/**
 * `authenticate` sends a token, and resolves with the answer of the server. What fails goes to
 * `report`: the server will close with 4401 then, and a new connection gets a new token.
 */
export function createRefresh(
  token: TokenSource,
  authenticate: (token: string) => Promise<unknown>,
  report: (error: unknown) => void,
): Refresh {
  const due = createTimer()
  let stopped = false
  /** Where the clocks of client and server differ, every token seems to end soon. */
  let shortest = SHORTEST

  const arm = (expiresAt: unknown): void => {
    const left = positive(expiresAt) - Date.now()
    if (left <= 0 || stopped) return
    const delay = Math.max(shortest, refreshDelay(left))
    due.set(() => renew().catch((error) => fail(error, expiresAt)), delay)
    shortest = Math.min(MARGIN, shortest * 2)
  }
  const renew = async (): Promise<void> => {
    const fresh = await takeToken(token)
    if (stopped) return
    if (!fresh) throw new Error('no token')
    const reply = (await authenticate(fresh)) as { expiresAt?: unknown } | null
    arm(reply?.expiresAt)
  }
  const fail = (error: unknown, expiresAt: unknown): void => {
    if (stopped) return
    report(error)
    arm(expiresAt) // once more, as long as there is time
  }
  return {
    arm,
    stop() {
      stopped = true
      due.clear()
    },
  }
}

/** At 80 to 90 % of the time that is left: not all clients that came together at one moment. */
function refreshDelay(left: number): number {
  return Math.min(left * (0.8 + Math.random() * 0.1), left - MARGIN)
}
