/** Returns the value of an option `--<name>=<value>` of the command line. */
export function optionOf(name: string): string | undefined {
  return process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3)
}

/**
 * Returns a function that filters a list by the names in `--only`. A list that has no such name stays whole.
 *
 * @throws Error for a name that is missing in each list
 */
export function chooser(
  only: readonly string[] | undefined,
  ...lists: readonly (readonly string[])[]
): <T extends string>(names: readonly T[]) => readonly T[] {
  const known = lists.flat()
  const unknown = only?.filter((name) => !known.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`--only: ${unknown.join()} is none of ${known.join()}`)
  return (names) => {
    const some = names.filter((name) => only?.includes(name))
    return some.length > 0 ? some : names
  }
}

/**
 * Runs a program: it exits with 0 when `main` resolves with true, otherwise and at a signal with 1.
 *
 * @param endAll ends the processes that must not outlive this one, at each way in which it may end
 */
export function runProgram(main: () => Promise<boolean>, endAll?: () => void): void {
  if (endAll) process.on('exit', endAll)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.exit(1))
  main().then(
    (ok) => process.exit(ok ? 0 : 1),
    (error) => {
      process.stderr.write(`${error.stack}\n`)
      process.exit(1)
    },
  )
}
