import { createReporter, type Reporter } from './report.ts'
import { type ConnectOptions, readSettings, type Settings } from './settings.ts'

/** What the parts of one client share. */
export interface Context extends Settings, Reporter {
  /** Ids of requests, over all connections: none comes twice. */
  nextId(): number
}

/** @throws what `readSettings()` throws */
export function createContext(url: string | URL, options: ConnectOptions): Context {
  const settings = readSettings(url, options)
  let lastId = 0
  return { ...settings, ...createReporter(settings.onError), nextId: () => ++lastId }
}
