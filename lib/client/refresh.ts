// Sends a new token before the old one expires.
import { positive } from './envelope.ts'
import { createTimer } from './timer.ts'
import { type TokenSource, takeToken } from './token.ts'

/** How long before the old token expires a new one is sent, in milliseconds. */
const MARGIN = 10_000

/** The initial minimum between two refreshes, in milliseconds; it doubles up to `MARGIN`. */
const SHORTEST = 1_000

/** Sends a new token on an open connection before the old one expires. */
export interface Refresh {
  /** Schedules a refresh for epoch milliseconds; other values mean that nothing expires. */
  arm(expiresAt: unknown): void
  stop(): void
}

/**
 * Creates a refresh. `authenticate` sends a token and resolves with the server's answer. Errors go
 * to `report`: the server will then close with 4401, and the next connection asks for a new token.
 */
export function createRefresh(
  token: TokenSource,
  authenticate: (token: string) => Promise<unknown>,
  report: (error: unknown) => void,
): Refresh {
  const due = createTimer()
  let stopped = false
  /** If the clock is ahead, each token seems to expire soon: keep a growing minimum. */
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
    arm(expiresAt) // retry while the old token is valid
  }
  return {
    arm,
    stop() {
      stopped = true
      due.clear()
    },
  }
}

/** Returns 80 to 90 % of the time left: jitter spreads clients that connected together. */
function refreshDelay(left: number): number {
  return Math.min(left * (0.8 + Math.random() * 0.1), left - MARGIN)
}
