import { backoffDelay } from './backoff.ts'
import type { Context } from './context.ts'
import { type Incoming, textOf } from './envelope.ts'
import { createSession, type Fields, type Session, type SessionOwner } from './session.ts'
import type { Store } from './store.ts'
import { createTimer } from './timer.ts'
import { delayOf, isFinal } from './verdict.ts'
import { onWake } from './wake.ts'

/** A connection that was open for so long, in milliseconds, ends a row of failures. */
const STABLE = 5_000

/** How soon a client comes back that was woken, in milliseconds at most. */
const WAKE_JITTER = 200

/** Whom a link tells. */
export interface LinkOwner {
  /** A connection is open: what waits goes first. The state is still `connecting`. */
  onWelcome(session: Session, welcome: Fields): void
  onMessage(session: Session, message: Incoming): void
  /** The connection is gone. */
  onEnd(why: string): void
  /** No other will come. The state is still the one before. */
  onStop(why: string): void
}

/** Keeps one connection, through one session after the other. */
export interface Link {
  /** The open session. */
  readonly open: Session | undefined
  /** Begin, if that has not happened yet. */
  start(): void
  /** Connect now, even after a stop. */
  connect(): void
  stop(code: number, reason?: string): void
}

/** A link that has not begun. */
export function createLink(context: Context, store: Store, owner: LinkOwner): Link {
  const { minDelay, maxDelay } = context
  const retry = createTimer()
  let session: Session | undefined
  let open: Session | undefined
  let stopWaking: (() => void) | undefined
  /** Attempts since the last connection that was stable. */
  let attempt = 0
  /** The last attempt ended with 4401. */
  let denied = false
  /** The server said when to come back. */
  let assigned = false

  const begin = (): void => {
    attempt = 0
    denied = false
    stopWaking = onWake(wake)
    run()
  }

  const run = (): void => {
    retry.clear()
    const next = createSession(context, sessionOwner)
    session = next
    store.set({ status: 'connecting' }) // a subscriber may close the client
    next.start()
  }

  const sessionOwner: SessionOwner = {
    onMessage: owner.onMessage,
    onWelcome(next, welcome) {
      owner.onWelcome(next, welcome)
      open = next
      store.set({
        status: 'open',
        connection: textOf(welcome['connection']),
      })
    },
    onEnd(last, code, reason) {
      open = undefined
      owner.onEnd(`the connection ended with ${code} ${reason}`)
      if (last.openedAt && Date.now() - last.openedAt >= STABLE) attempt = 0
      const comesBack = judge(last, code, reason)
      if (session !== last) return // closed meanwhile
      session = undefined
      if (comesBack) wait(returnDelay(wish(last, code, reason)), code, reason)
      else finish(code, reason)
    },
  }

  /** Whether to come back. */
  const judge = (last: Session, code: number, reason: string): boolean => {
    const again = denied && !last.openedAt
    denied = code === 4401
    const stop = denied ? again || typeof context.token !== 'function' : isFinal(code)
    return context.guard(() => context.retry?.({ code, reason })) ?? !stop
  }

  /** When the server wants the client back, in milliseconds from now. */
  const wish = ({ returnAt = 0 }: Session, code: number, reason: string): number | undefined => {
    const left = returnAt - Date.now()
    // A bye of long ago is not about this end.
    return code === 4611 || left < -STABLE ? delayOf(code, reason) : Math.max(0, left)
  }

  /** A server that sends its clients away for no time at all, again and again, is backed off from. */
  const returnDelay = (wished: number | undefined): number => {
    assigned = wished !== undefined && (wished >= minDelay || attempt === 0)
    const delay = assigned ? (wished as number) : backoffDelay(attempt, minDelay, maxDelay)
    if (!assigned || delay < minDelay) attempt++
    return delay
  }

  const wait = (delay: number, code?: number, reason?: string): void => {
    retry.set(run, delay)
    store.set({ status: 'waiting', retryAt: Math.round(Date.now() + delay), code, reason })
  }

  const wake = (): void => {
    const { status, retryAt = 0, code, reason } = store.state
    session?.probe()
    if (status === 'waiting' && !assigned && retryAt - Date.now() > WAKE_JITTER) {
      wait(Math.random() * WAKE_JITTER, code, reason)
    }
  }

  const finish = (code: number, reason: string | undefined): void => {
    retry.clear()
    stopWaking?.()
    owner.onStop('the client stopped')
    store.set({ status: 'stopped', code, reason })
  }

  return {
    get open() {
      return open
    },
    start() {
      if (!session && store.state.status === 'connecting') begin()
    },
    connect() {
      if (session) return
      if (store.state.status === 'waiting') run()
      else begin()
    },
    stop(code, reason) {
      if (store.state.status === 'stopped') return
      const last = session
      session = open = undefined
      owner.onEnd('the client stopped')
      finish(code, reason)
      last?.close(code, reason)
    },
  }
}
