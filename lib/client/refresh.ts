import { positive } from './envelope.ts'
import { createTimer } from './timer.ts'
import { type TokenSource, takeToken } from './token.ts'

/** A new token comes at least this long before the old one ends, where it lives longer. */
const MARGIN = 10_000

/** No refreshes at a shorter distance than this, whatever end a server names. */
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

  const arm = (expiresAt: unknown): void => {
    const left = positive(expiresAt) - Date.now()
    if (left > 0 && !stopped) due.set(() => renew().catch(fail), refreshDelay(left))
  }
  const renew = async (): Promise<void> => {
    const fresh = await takeToken(token)
    if (stopped) return
    if (!fresh) throw new Error('no token')
    const reply = (await authenticate(fresh)) as { expiresAt?: unknown } | null
    arm(reply?.expiresAt)
  }
  const fail = (error: unknown): void => {
    if (!stopped) report(error)
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
  return Math.max(SHORTEST, Math.min(left * (0.8 + Math.random() * 0.1), left - MARGIN))
}
