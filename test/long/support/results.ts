import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'

/** Keep the result of a full run that went well beside the program: `results/<name>.json`. */
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
