/** Ends a process. Resolves when it has ended, with undefined if it had ended before. */
export function ended(process) {
  const { pid, exitCode, signalCode } = process
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  return new Promise((resolve) => {
    process.once('exit', resolve)
    process.kill('SIGKILL')
  })
}
