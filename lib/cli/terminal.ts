// The output of the command line tool: streams, colors, wrapped text.

/** The surroundings of a command. */
export interface Terminal {
  /** Writes to the standard output. */
  out(text: string): void
  /** Writes to the standard error. */
  err(text: string): void
  /** Whether the standard output understands colors. */
  readonly color: boolean
  /** Whether progress may be shown on the standard error. */
  readonly progress: boolean
  /** Calls a function at the next SIGINT; returns a function that stops listening. */
  onInterrupt(listener: () => void): () => void
}

/** The columns that prose is wrapped to. */
const COLUMNS = 92

/** Returns the terminal of this process. */
export function processTerminal(): Terminal {
  // A reader such as `head` may leave early: the rest of the output has no receiver.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    color: showsColors(process.stdout.isTTY === true, process.env),
    progress: process.stderr.isTTY === true,
    onInterrupt: (listener) => {
      process.once('SIGINT', listener)
      return () => void process.off('SIGINT', listener)
    },
  }
}

/** Returns whether output is colored: on a terminal, unless NO_COLOR is set (no-color.org). */
export function showsColors(isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  return isTerminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
}

/** The colors of marks and titles. */
export type Paint = 'red' | 'yellow' | 'green' | 'dim' | 'bold'

const CODES: Readonly<Record<Paint, readonly [number, number]>> = {
  red: [31, 39],
  yellow: [33, 39],
  green: [32, 39],
  dim: [2, 22],
  bold: [1, 22],
}

/** Returns a text in a color, where the terminal shows colors. */
export function paint(terminal: Terminal, color: Paint, text: string): string {
  if (!terminal.color) return text
  const [on, off] = CODES[color]
  return `\x1b[${on}m${text}\x1b[${off}m`
}

/** Breaks a text at spaces; every line but the first begins with the indent. */
export function wrap(text: string, indent: string, columns: number = COLUMNS): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.join(`\n${indent}`)
}

/** Returns text from outside in one line, without control characters, which steer terminals. */
export function printable(text: string, most: number): string {
  const line = text
    .replace(/[\p{C}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replaceAll('\ufffd', '?')
    .trim()
  return line.length > most ? `${line.slice(0, most).toWellFormed()}…` : line
}
