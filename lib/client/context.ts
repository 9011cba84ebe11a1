// Creates the settings and helpers that the parts of one client share: request ids, pace, error reports.

import { RequestError } from './errors.ts'
import { createPace, type Pace } from './liveness.ts'
import { createReporter, type Reporter } from './report.ts'
import { type ConnectOptions, readSettings, type Settings } from './settings.ts'

const UNREADABLE = { code: 'ERR_KOAWS_MALFORMED', status: 400 }

/** The settings and helpers that the parts of one client share. */
export interface Context extends Settings, Reporter {
  /** Returns the next request id, unique over all connections of the client. */
  nextId(): number
  /** Reports a message that is malformed, or above the option `maxMessage`. */
  malformed(): void
  readonly pace: Pace
}

/**
 * Creates the shared context of one client.
 *
 * @throws TypeError or Error as `readSettings()`
 */
export function createContext(url: string | URL, options: ConnectOptions): Context {
  const settings = readSettings(url, options)
  const reporter = createReporter(settings.onError)
  let lastId = 0
  return {
    ...settings,
    ...reporter,
    nextId: () => ++lastId,
    malformed: () =>
      reporter.failed(new RequestError('The server sent an invalid message', UNREADABLE)),
    pace: createPace(),
  }
}
