import { positive } from './envelope.ts'
import { createTimer } from './timer.ts'
import { isVisible } from './wake.ts'

/** How long a ping waits for anything from the server, in milliseconds. */
const PATIENCE = 5_000

/** Silence is longer than this many heartbeats. */
const HEARTBEATS = 1.4

/** No probes at a shorter distance than this, in milliseconds, whatever heartbeat a server names. */
const SHORTEST = 1_000

/** Whether the connection is alive. A browser does not show a page the pings of the server. */
export interface Liveness {
  /** Something came. */
  heard(): void
  /** Ask now. */
  probe(): void
  /** Ask when nothing has come for longer than the heartbeat, in milliseconds, and somebody looks. */
  watch(heartbeat: unknown): void
  stop(): void
}

/** `ping` sends what the server answers; `dead` is called when nothing comes. */
export function createLiveness(ping: () => void, dead: () => void): Liveness {
  const silence = createTimer()
  const answer = createTimer()
  let probing = false
  let last = Date.now()
  let limit = 0

  const probe = (): void => {
    if (probing) return
    probing = true
    answer.set(dead, PATIENCE)
    ping()
  }
  const check = (): void => {
    const left = last + limit - Date.now()
    if (left <= 0 && isVisible()) probe()
    silence.set(check, left > 0 ? Math.min(left, limit) : limit)
  }
  return {
    heard() {
      last = Date.now()
      probing = false
      answer.clear()
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
