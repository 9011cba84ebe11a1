// The options and the results of an examination.
import type { Target } from '../target.ts'
import type { Finding } from './findings.ts'

/** What to examine, and for how long. */
export interface DoctorOptions {
  readonly target: Target
  /** Milliseconds for one step. */
  readonly patience: number
  /** Milliseconds for all of them, without `idle` and `restart`. */
  readonly deadline: number
  /** Seconds of silence; 0 skips the check. */
  readonly idle: number
  /** Seconds to wait for a restart; 0 skips the check. */
  readonly restart: number
  /** The size of the largest message in bytes; 0 skips the check. */
  readonly size: number
  /** Whether the size was asked for, so that a smaller limit is a finding. */
  readonly sizeAsked: boolean
  /** Goes on when the certificate is wrong. */
  readonly insecure: boolean
}

/** One line of the report. */
export interface Row {
  readonly check: string
  readonly state: 'ok' | 'info' | 'skipped' | 'warning' | 'error'
  readonly text: string
  /** Figures for `--json`. */
  readonly data: Readonly<Record<string, unknown>>
}

/** What to do with results as they come. */
export interface Listener {
  row(row: Row): void
  found(found: Finding): void
  /** A check that takes long begins. */
  waiting(text: string): void
}
