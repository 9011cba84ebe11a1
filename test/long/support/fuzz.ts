/**
 * Run a fuzz with what the command line says, `[<what>=so many] [seed]`, and end the process with its verdict: 0 when
 * `run` says that all is well. A signal ends it with 1.
 */
export function runFuzz(full: number, run: (many: number, seed: number) => Promise<boolean>): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.exit(1))
  const words = process.argv.slice(2).filter((word) => !word.startsWith('--'))
  const [first = String(full), given] = words
  run(
    Number(first.replace(/^[a-z]+=/, '')),
    Number(given ?? Math.floor(Math.random() * 2 ** 31)),
  ).then(
    (ok) => process.exit(ok ? 0 : 1),
    (error) => {
      process.stderr.write(`${error.stack}\n`)
      process.exit(1)
    },
  )
}
