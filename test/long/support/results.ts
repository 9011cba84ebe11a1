import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'

/** Writes the result of a successful full run to `results/<name>.json`. */
export function keepResult(name: string, result: object): void {
  const folder = new URL('../results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const about = {
    date: new Date().toISOString(),
    node: process.version,
    cpu: `${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown'}`,
  }
  writeFileSync(
    new URL(`${name}.json`, folder),
    `${JSON.stringify({ ...about, ...result }, null, 2)}\n`,
  )
}

/**
 * Returns some outcomes, and those of `results/<name>.json` that they do not replace: a full run of some contestants
 * does not touch the others.
 */
export function withOthers<T extends object>(
  name: string,
  outcomes: readonly T[],
  isSame: (one: T, other: T) => boolean,
): T[] {
  const file = new URL(`../results/${name}.json`, import.meta.url)
  const before: T[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).outcomes : []
  return [...outcomes, ...before.filter((one) => !outcomes.some((other) => isSame(one, other)))]
}
