import { spawn } from 'node:child_process'
import { once } from 'node:events'
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

/** As {@link runFuzz}, in a process that can collect garbage on demand: starts the program again with `--expose-gc`. */
export async function runFuzzWithGc(
  full: number,
  run: (many: number, seed: number) => Promise<boolean>,
): Promise<void> {
  if (typeof gc === 'function') {
    runFuzz(full, run)
    return
  }
  const args = ['--expose-gc', '--import=tsx', ...process.argv.slice(1)]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  process.exitCode = code ?? 1
}
