import { warnOfStopTimeout } from './stop-timeout.ts'

/** What ends a process that is told to stop. */
export interface SignalOptions {
  /** The signals to listen for. @default ['SIGTERM', 'SIGINT'] */
  signals?: readonly NodeJS.Signals[] | undefined
  /** Whether PM2's message `shutdown` counts as well. @default true */
  pm2?: boolean | undefined
  /** See `hub.close()`. @default 10_000 */
  timeout?: number | undefined
  /** See `hub.close()`. @default 0 */
  readyDelay?: number | undefined
  /** Runs when everything is closed, before the process exits: databases, queues. Awaited. */
  after?: (() => unknown) | undefined
}

/** One hub that closes when the process is told to stop. */
interface Closer {
  readonly close: () => Promise<void>
  /** Where the errors of `close` and `after` go. */
  readonly report: (error: unknown) => void
  readonly after: (() => unknown) | undefined
}

/** All hubs of this process: it exits when the last is closed. */
const closers = new Map<string, Set<Closer>>()
const listeners = new Map<string, () => void>()
/** When this process was told to stop. */
let stoppingSince: number | null = null

/**
 * What comes within so many milliseconds is the same stop. Ctrl-C and systemd tell all processes of a
 * group, and npm tells its child once more.
 */
const SAME_STOP = 500

/** The name under which PM2's message is kept beside the signals. */
const PM2 = 'message:shutdown'

/**
 * Close when the process is told to stop, run `after`, and exit with code 0, or 1 when `after` fails.
 * A second signal exits at once, unless it comes within half a second. Warns where PM2 kills too early.
 *
 * @returns a function that takes it back
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
    // Listening alone would keep a process with an IPC channel alive, where nobody else listens.
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
    // Whoever asks twice does not want to wait.
    process.exit(1)
  }
  stoppingSince = performance.now()
  const all = [...(closers.get(name) ?? [])]
  let code = 0
  // The timers of a shutdown keep no process alive, and it is not over when the last socket is gone.
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
