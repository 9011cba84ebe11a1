import { type RecoveryReport, runRecovery } from './model.ts'
import type { Flaw } from './types.ts'

/** A schedule that went wrong. */
export interface FailedSchedule {
  readonly seed: number
  readonly wrong: readonly string[]
}

/** The sums of many schedules. */
export interface RunsReport extends Omit<RecoveryReport, 'wrong'> {
  readonly failed: readonly FailedSchedule[]
}

/** Runs schedules with consecutive seeds. */
export function runSchedules(
  first: number,
  count: number,
  progress?: (done: number, wrong: number) => void,
): RunsReport {
  const failed: FailedSchedule[] = []
  const sums = {
    published: 0,
    delivered: 0,
    again: 0,
    recovered: 0,
    refused: 0,
    holes: 0,
    renewals: 0,
    steps: 0,
  }
  for (let seed = first; seed < first + count; seed++) {
    const report = runRecovery(seed)
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += report[name]
    if (report.wrong.length > 0) failed.push({ seed, wrong: report.wrong })
    progress?.(seed - first + 1, failed.length)
  }
  return { ...sums, failed }
}

/** Returns how many schedules it takes to find a wrong variant; null if it is not found. */
export function findFlaw(flaw: Flaw, first: number, most: number): number | null {
  for (let i = 0; i < most; i++) {
    if (runRecovery(first + i, flaw).wrong.length > 0) return i + 1
  }
  return null
}
