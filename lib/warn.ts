// Warnings to developers, once per cause, with a code.

/** The warning codes. Each has a row in the table of `docs/troubleshooting.md`. */
export type WarningCode =
  | 'KOAWS_ORIGIN'
  | 'KOAWS_ATTACH'
  | 'KOAWS_TWO_PLUGINS'
  | 'KOAWS_LATE_RESPONSE'
  | 'KOAWS_BACKPLANE'
  | 'KOAWS_EXP'
  | 'KOAWS_FILE_LIMIT'
  | 'KOAWS_KILL_TIMEOUT'

/** The options of a warning. */
export interface WarnOptions {
  /** The cause: each cause of a code is reported once. @default one cause per code */
  readonly cause?: string
  /** Whether to warn in production too. @default false */
  readonly inProduction?: boolean
}

/** The limit on distinct causes; further causes are not reported. */
const MOST = 100

const given = new Set<string>()

/**
 * Warns once per cause with `process.emitWarning` (type `KoaWsWarning`). With
 * `NODE_ENV=production`, only if `inProduction` is true. Escape values of a client with
 * `loggable()` first.
 *
 * @param message what happened, and how to fix it
 */
export function warnOnce(code: WarningCode, message: string, options: WarnOptions = {}): void {
  if (!options.inProduction && process.env['NODE_ENV'] === 'production') return
  const key = `${code} ${options.cause ?? ''}`
  if (given.has(key) || given.size >= MOST) return
  given.add(key)
  process.emitWarning(message, { type: 'KoaWsWarning', code })
}

/** Resets the known causes, for tests that share a process. */
export function forgetWarnings(): void {
  given.clear()
}
