/** Ends a process; resolves when it has gone, and gives undefined when it had before. */
export function ended(process) {
  const { pid, exitCode, signalCode } = process
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  return new Promise((resolve) => {
    process.once('exit', resolve)
    process.kill('SIGKILL')
  })
}
