// Detects a dead connection.
import { positive } from './envelope.ts'
import { createTimer } from './timer.ts'
import { clampDelay } from './verdict.ts'
import { isVisible } from './wake.ts'

/** How long a ping waits for any message from the server, in milliseconds. */
const PATIENCE = 5_000

/** The same when the browser reports that it is offline. */
const PATIENCE_OFFLINE = 2_000

/** The upper limit that failed pings can raise the patience to, in milliseconds. */
const MOST_PATIENCE = 60_000

/**
 * The slowest link that a connection survives, in bytes per millisecond (64 kbit/s). Data in
 * transit get the time that they need at this rate:
 * docs/decisions/0014-a-slow-link-is-no-dead-link.md.
 */
const SLOWEST = 8

/** The longest extra time for messages sent earlier, in milliseconds. */
const BACKLOG = 120_000

/** The client pings after a silence of this many heartbeats. */
const HEARTBEATS = 1.4

/** The shortest interval between probes, in milliseconds, even if the server names less. */
const SHORTEST = 1_000

/** Watches whether the connection is alive. A browser hides the server's pings from a page. */
export interface Liveness {
  /** Records that a message arrived. */
  heard(): void
  /** Records that the next message of the server has this many bytes. */
  announced(bytes: unknown): void
  /** Records that this many bytes were sent: a ping waits behind them. */
  carries(bytes: number): void
  /** Sends a ping now. */
  probe(offline?: boolean): void
  /** Pings when the silence exceeds the heartbeat, in milliseconds, while the page is visible. */
  watch(heartbeat: unknown): void
  stop(): void
}

/** Knowledge about the link that outlives one connection. */
export interface Pace {
  /** How long a ping waits for an answer, in milliseconds. */
  patience: number
}

/** Creates a pace for an unknown link. */
export function createPace(): Pace {
  return { patience: PATIENCE }
}

/** Creates a watch: `ping` sends what the server answers, `dead` is called when it does not. */
export function createLiveness(pace: Pace, ping: () => void, dead: () => void): Liveness {
  const silence = createTimer()
  const answer = createTimer()
  let last = Date.now()
  let limit = 0
  /** The time at which the connection counts as dead, in epoch milliseconds; 0 without a ping. */
  let due = 0
  /** The times until which data in transit may take, in epoch milliseconds. */
  let incoming = 0
  let outgoing = 0

  const probe = (offline?: boolean): void => {
    const now = Date.now()
    const patience = offline ? PATIENCE_OFFLINE : pace.patience
    const at = Math.max(now, incoming, outgoing) + patience
    if (!due) ping()
    else if (at >= due) return
    due = at
    answer.set(fail, at - now)
  }
  const fail = (): void => {
    // The patience may have been too short: double it, or each connection would end this way.
    pace.patience = Math.min(pace.patience * 2, MOST_PATIENCE)
    dead()
  }
  const check = (): void => {
    const left = last + limit - Date.now()
    if (left <= 0 && isVisible()) probe()
    silence.set(check, left > 0 ? Math.min(left, limit) : limit)
  }
  return {
    heard() {
      if (due) pace.patience = PATIENCE
      last = Date.now()
      due = incoming = 0
      answer.clear()
    },
    announced(bytes) {
      incoming = Date.now() + clampDelay(positive(bytes) / SLOWEST)
    },
    carries(bytes) {
      const now = Date.now()
      const time = bytes / SLOWEST
      outgoing = Math.max(now + time, outgoing, Math.min(outgoing + time, now + BACKLOG))
    },
    probe,
    watch(heartbeat) {
      if (!positive(heartbeat)) return
      limit = Math.max(SHORTEST, positive(heartbeat) * HEARTBEATS)
      check()
    },
    stop() {
      silence.clear()
      answer.clear()
    },
  }
}
