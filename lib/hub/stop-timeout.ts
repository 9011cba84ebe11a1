/** What PM2 gives a process that does not say otherwise, in milliseconds. */
const PM2_DEFAULT = 1_600

/** A hint is given once: several hubs of one process are closed together. */
let warned = false

/**
 * Warn, once in a process, when the process manager kills before a shutdown may be over. Only PM2 tells
 * the process how long it waits; systemd, Docker and Kubernetes do not.
 *
 * @param drain how long the shutdown may take, in milliseconds
 */
export function warnOfStopTimeout(drain: number): void {
  const warning = stopTimeoutWarning(process.env, drain)
  if (warned || warning === null) return
  warned = true
  process.emitWarning(warning, { type: 'KoaWsWarning', code: 'KOAWS_KILL_TIMEOUT' })
}

/** What is wrong with the time that PM2 gives, as its environment tells; null when it is enough. */
export function stopTimeoutWarning(env: NodeJS.ProcessEnv, drain: number): string | null {
  const limit = pm2KillTimeout(env)
  if (limit === null || limit > drain) return null
  return (
    `PM2 kills this process ${limit} ms after it has told it to stop, and hub.closeOnSignal() may take ${drain} ms (readyDelay + timeout). ` +
    'Whoever is not closed by then sees 1006, and "after" may not run. ' +
    `Set "kill_timeout" of PM2 to ${drain + 2_000} or more, or a shorter "timeout".`
  )
}

/**
 * Milliseconds between PM2's signal or message and its SIGKILL; null where PM2 has not started this
 * process. PM2 puts what it knows of an application into its environment, in both of its modes.
 */
function pm2KillTimeout(env: NodeJS.ProcessEnv): number | null {
  if (env['pm_id'] === undefined || env['PM2_HOME'] === undefined) return null
  for (const value of [env['kill_timeout'], env['PM2_KILL_TIMEOUT']]) {
    const given = Number(value)
    if (given > 0) return given
  }
  return PM2_DEFAULT
}
