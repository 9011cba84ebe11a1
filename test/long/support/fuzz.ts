import { runProgram } from './program.ts'

/**
 * Runs a fuzz with the arguments of the command line, `[<what>=<number>] [seed]`, and exits with 0 when
 * `run` resolves with true, otherwise with 1. A signal exits with 1.
 */
export function runFuzz(full: number, run: (many: number, seed: number) => Promise<boolean>): void {
  const words = process.argv.slice(2).filter((word) => !word.startsWith('--'))
  const [first = String(full), given] = words
  const many = Number(first.replace(/^[a-z]+=/, ''))
  const seed = Number(given ?? Math.floor(Math.random() * 2 ** 31))
  runProgram(() => run(many, seed))
}
