// Implements `hub.closeOnSignal()`, for all hubs of the process.

import { warnOfStopTimeout } from './stop-timeout.ts'

/** The options of `hub.closeOnSignal()`. */
export interface SignalOptions {
  /** The signals to listen for. @default ['SIGTERM', 'SIGINT'] */
  signals?: readonly NodeJS.Signals[] | undefined
  /** Whether PM2's message `shutdown` counts as well. @default true */
  pm2?: boolean | undefined
  /** See `hub.close()`. @default 10_000 */
  timeout?: number | undefined
  /** See `hub.close()`. @default 0 */
  readyDelay?: number | undefined
  /**
   * Called when all hubs are closed, before the process exits: close databases and queues here.
   * Awaited.
   */
  after?: (() => unknown) | undefined
}

/** A hub that closes on a signal. */
interface Closer {
  readonly close: () => Promise<void>
  /** Receives the errors of `close` and `after`. */
  readonly report: (error: unknown) => void
  readonly after: (() => unknown) | undefined
}

/** The hubs of this process by signal. The process exits when the last hub is closed. */
const closers = new Map<string, Set<Closer>>()
const listeners = new Map<string, () => void>()
/** When this process got the first signal, in milliseconds on the clock of `performance`. */
let stoppingSince: number | null = null

/**
 * Signals within this many milliseconds count as one. Ctrl-C and systemd signal all processes of a
 * group, and npm signals its child once more.
 */
const SAME_STOP = 500

/** The key of PM2's message among the signals. */
const PM2 = 'message:shutdown'

/**
 * Closes the hub on a signal, runs `after`, and exits with code 0, or with 1 when closing or
 * `after` fails. A second signal exits at once, unless it arrives within half a second. Warns when
 * PM2 would kill the process too early.
 *
 * @returns a function that removes the listeners
 */
export function closeOnSignal(
  close: Closer['close'],
  report: Closer['report'],
  options: SignalOptions,
): () => void {
  const { signals = ['SIGTERM', 'SIGINT'], pm2 = true, timeout = 10_000, readyDelay = 0 } = options
  const { after } = options
  const closer: Closer = { close, report, after }
  const names = pm2 ? [...signals, PM2] : [...signals]
  for (const name of names) listenFor(name).add(closer)
  warnOfStopTimeout(readyDelay + timeout)
  return () => {
    for (const name of names) leave(name, closer)
  }
}

function listenFor(name: string): Set<Closer> {
  const known = closers.get(name)
  if (known) return known
  const set = new Set<Closer>()
  closers.set(name, set)
  const listener = (): void => void stop(name)
  if (name === PM2) {
    const onMessage = (message: unknown): void => {
      if (message === 'shutdown') listener()
    }
    process.on('message', onMessage)
    // A `message` listener keeps a process with an IPC channel alive: undo that when it is the only
    // one.
    if (process.listenerCount('message') === 1) {
      ;(process as { channel?: { unref?: () => void } }).channel?.unref?.()
    }
    listeners.set(name, () => process.off('message', onMessage))
  } else {
    process.on(name as NodeJS.Signals, listener)
    listeners.set(name, () => process.off(name, listener))
  }
  return set
}

function leave(name: string, closer: Closer): void {
  const set = closers.get(name)
  if (!set?.delete(closer) || set.size > 0) return
  closers.delete(name)
  listeners.get(name)?.()
  listeners.delete(name)
}

async function stop(name: string): Promise<void> {
  if (stoppingSince !== null) {
    if (performance.now() - stoppingSince < SAME_STOP) return
    // A second signal means: do not wait.
    process.exit(1)
  }
  stoppingSince = performance.now()
  const all = [...(closers.get(name) ?? [])]
  let code = 0
  // The timers of a shutdown are unreferenced, and it continues after the last socket has closed.
  setInterval(() => {}, 2 ** 31 - 1)
  const failed = (closer: Closer, error: unknown): void => {
    code = 1
    closer.report(error)
  }
  await Promise.all(all.map((closer) => closer.close().catch((error) => failed(closer, error))))
  for (const closer of all) {
    try {
      await closer.after?.()
    } catch (error) {
      failed(closer, error)
    }
  }
  process.exit(code)
}
