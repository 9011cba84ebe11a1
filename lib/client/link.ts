// Keeps a client connected: connecting, waiting, reconnecting, stopping.
import { backoffDelay } from './backoff.ts'
import type { Context } from './context.ts'
import { type Incoming, textOf } from './envelope.ts'
import { createSession, type Fields, type Session, type SessionOwner } from './session.ts'
import type { Store } from './store.ts'
import { createTimer } from './timer.ts'
import { delayOf, isFinal } from './verdict.ts'
import { onWake } from './wake.ts'

/** A connection that was open for this long, in milliseconds, resets the back-off. */
const STABLE = 5_000

/** A client reconnects within this time after a wake event, in milliseconds. */
const WAKE_JITTER = 200

/** The callbacks of a link. */
export interface LinkOwner extends Pick<SessionOwner, 'resumption'> {
  /** The server welcomed a connection: `ready` opens it for messages. */
  onWelcome(session: Session, welcome: Fields, ready: () => void): void
  onMessage(session: Session, message: Incoming): void
  /** The connection has ended. */
  onEnd(why: string): void
  /** The client stops reconnecting. The state has not changed yet. */
  onStop(why: string): void
}

/** Keeps one connection through successive sessions. */
export interface Link {
  /** The open session, if any. */
  readonly open: Session | undefined
  /** Connects, if the client has not started yet. */
  start(): void
  /** Connects now, even after a stop. */
  connect(): void
  stop(code: number, reason?: string): void
}

/** Creates a link that has not started. */
export function createLink(context: Context, store: Store, owner: LinkOwner): Link {
  const { minDelay, maxDelay } = context
  const retry = createTimer()
  let session: Session | undefined
  let open: Session | undefined
  let stopWaking: (() => void) | undefined
  /** Attempts since the last stable connection. */
  let attempt = 0
  /** Whether the last connection ended with 4401. */
  let denied = false
  /** Whether the server set the time of the next attempt. */
  let assigned = false

  const begin = (): void => {
    attempt = 0
    denied = false
    stopWaking = onWake(wake, () => session?.probe(true))
    run()
  }

  const run = (): void => {
    retry.clear()
    const next = createSession(context, sessionOwner)
    session = next
    // a subscriber may call `client.close()`, which ends `next` before `start()`
    store.set({ status: 'connecting' })
    next.start()
  }

  const sessionOwner: SessionOwner = {
    resumption: owner.resumption,
    onMessage: owner.onMessage,
    onWelcome(next, welcome) {
      owner.onWelcome(next, welcome, () => {
        open = next
        store.set({ status: 'open', connection: textOf(welcome['connection']) })
      })
    },
    onEnd(last, code, reason) {
      open = undefined
      owner.onEnd(`the connection ended with ${code} ${reason}`)
      if (last.openedAt && Date.now() - last.openedAt >= STABLE) attempt = 0
      const comesBack = judge(last, code, reason)
      if (session !== last) return // `retry` called `client.close()`
      session = undefined
      if (comesBack) wait(returnDelay(requestedDelay(last, code, reason)), code, reason)
      else finish(code, reason)
    },
  }

  /** Returns whether to reconnect. */
  const judge = (last: Session, code: number, reason: string): boolean => {
    const again = denied && !last.openedAt
    denied = code === 4401
    const stop = denied
      ? again || typeof context.token !== 'function'
      : isFinal(code, last.openedAt > 0)
    return context.guard(() => context.retry?.({ code, reason })) ?? !stop
  }

  /** Returns the delay that the server asked for, in milliseconds from now, or undefined. */
  const requestedDelay = (
    { returnAt = 0 }: Session,
    code: number,
    reason: string,
  ): number | undefined => {
    const left = returnAt - Date.now()
    // A bye from long ago does not belong to this close.
    return code === 4611 || left < -STABLE ? delayOf(code, reason) : Math.max(0, left)
  }

  /** Returns the delay before the next attempt; backs off from repeated short requests. */
  const returnDelay = (requested: number | undefined): number => {
    assigned = requested !== undefined && (requested >= minDelay || attempt === 0)
    const delay = assigned ? (requested as number) : backoffDelay(attempt, minDelay, maxDelay)
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
