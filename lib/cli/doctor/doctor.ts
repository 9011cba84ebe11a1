// Runs an examination within its deadline.
import { Examination } from './examination.ts'
import { finding } from './findings.ts'
import { Sockets } from './sockets.ts'
import type { DoctorOptions, Listener } from './types.ts'

/** Examines a target, and reports to the listener. Resolves always, within the deadline. */
export async function examine(options: DoctorOptions, listener: Listener): Promise<void> {
  const sockets = new Sockets(options.patience, options.insecure)
  let late = false
  const total = options.deadline + 1_000 * (options.idle + options.restart)
  const timer = setTimeout(() => {
    late = true
    sockets.close()
  }, total)
  // After the deadline every socket is gone: what follows would only repeat that.
  const inTime: Listener = {
    row: (row) => late || listener.row(row),
    found: (found) => late || listener.found(found),
    waiting: (text) => late || listener.waiting(text),
  }
  try {
    await new Examination(options, sockets, inTime).run()
  } finally {
    clearTimeout(timer)
    sockets.close()
  }
  if (late)
    listener.found(
      finding(
        'out-of-time',
        `The checks were not done after ${total / 1_000} s; the rest is untested.`,
      ),
    )
}
