// Chooses the command of a command line, and turns its errors into exit codes.
import { UsageError } from './arguments.ts'
import { bench } from './bench/command.ts'
import type { Command } from './command.ts'
import { contract } from './contract/command.ts'
import { doctor } from './doctor/command.ts'
import type { Terminal } from './terminal.ts'

/** The commands by name. One more command is one more row. */
const COMMANDS: Readonly<Record<string, Command>> = { doctor, bench, contract }

/**
 * Runs a command line.
 *
 * @returns the exit code: 0 when all is well, 1 when the command found a problem, 2 for wrong
 * usage, 3 for a bug
 */
export async function main(words: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = words
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const text = overview()
    if (name !== undefined) terminal.out(text)
    else terminal.err(text)
    return name === undefined ? 2 : 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) {
    // An address without a command may have a credential.
    const shown = /^[a-z-]{1,20}$/.test(name) ? ` ${name}` : ' of this name'
    terminal.err(`koaws: there is no command${shown}.\n\n${overview()}`)
    return 2
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.out(command.help)
    return 0
  }
  try {
    return await command.run(rest, terminal)
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err(`koaws ${name}: ${error.message}\nSee npx koaws ${name} --help\n`)
      return 2
    }
    terminal.err(
      `koaws ${name}: a bug in this command. Please report these lines:\n${where(error)}\n`,
    )
    return 3
  }
}

/** Returns the place of an error without its message, which may quote a credential. */
function where(error: unknown): string {
  const { name, stack = '' } = error instanceof Error ? error : new Error('not an error')
  return [name, ...stack.split('\n').filter((line) => /^ {4}at /.test(line))].join('\n')
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const rows = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`,
  )
  return `Usage: npx koaws <command> …\n\n${rows.join('\n')}\n\nnpx koaws <command> --help lists the options of a command.\n`
}
