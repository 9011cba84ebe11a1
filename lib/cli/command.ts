// The contract of a command of the command line tool.
import type { Terminal } from './terminal.ts'

/** A command of `npx koaws`. */
export interface Command {
  /** One line for the list of commands. */
  readonly summary: string
  /** The text of `--help`, with a line break at its end. */
  readonly help: string
  /**
   * Runs the command with the words after its name.
   *
   * @returns the exit code
   * @throws UsageError for a wrong command line
   */
  run(words: readonly string[], terminal: Terminal): Promise<number>
}
