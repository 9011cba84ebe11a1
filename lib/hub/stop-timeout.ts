// Warns when PM2 kills the process before a shutdown can finish.

import { warnOnce } from '../warn.ts'

/** PM2's default for `kill_timeout`, in milliseconds. */
const PM2_DEFAULT = 1_600

/**
 * Warns once per process when the process manager kills before a shutdown can finish. Only PM2
 * publishes its timeout to the process; systemd, Docker and Kubernetes do not.
 *
 * @param drain the longest time of the shutdown, in milliseconds
 */
export function warnOfStopTimeout(drain: number): void {
  const warning = stopTimeoutWarning(process.env, drain)
  if (warning !== null) warnOnce('KOAWS_KILL_TIMEOUT', warning, { inProduction: true })
}

/** Returns the warning when PM2's timeout in the environment is too short, or null. */
export function stopTimeoutWarning(env: NodeJS.ProcessEnv, drain: number): string | null {
  const limit = pm2KillTimeout(env)
  if (limit === null || limit > drain) return null
  return (
    `PM2 kills this process ${limit} ms after its stop signal, and hub.closeOnSignal() may take ${drain} ms (readyDelay + timeout). ` +
    'Clients that are still connected then see 1006, and "after" may not run. ' +
    `Set "kill_timeout" of PM2 to ${drain + 2_000} or more, or lower "timeout".`
  )
}

/**
 * Returns the milliseconds between PM2's signal or message and its SIGKILL; null when PM2 did not
 * start this process. PM2 puts an application's settings into its environment, in fork and cluster
 * mode.
 */
function pm2KillTimeout(env: NodeJS.ProcessEnv): number | null {
  if (env['pm_id'] === undefined || env['PM2_HOME'] === undefined) return null
  for (const value of [env['kill_timeout'], env['PM2_KILL_TIMEOUT']]) {
    const given = Number(value)
    if (given > 0) return given
  }
  return PM2_DEFAULT
}
