// Whether a process of this machine is running.

import { readFileSync } from 'node:fs'
import { codeOf } from '../folder.ts'

/** A process that has ended, and that its parent has not noticed yet. */
const ENDED = /^[ZX]$/

/**
 * Returns whether a process of this machine is running. A process of another PID namespace is not, or is
 * mistaken for another one.
 */
export function isRunning(pid: number): boolean {
  if (pid < 1) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) !== 'ESRCH' // a process of another user is running
  }
  return !ENDED.test(stateOf(pid))
}

/** The state of a process on Linux; empty where it is not known. */
function stateOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name before the state may contain anything.
    return stat.slice(stat.lastIndexOf(')') + 2).charAt(0)
  } catch {
    return ''
  }
}
