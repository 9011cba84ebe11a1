import { main } from '../../../lib/cli/main.ts'
import type { Terminal } from '../../../lib/cli/terminal.ts'

/** The result of a command line. */
export interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** The JSON of `koaws doctor --json`. */
export interface DoctorJson {
  readonly version: number
  readonly url: string
  readonly ok: boolean
  readonly seconds: number
  readonly findings: readonly {
    readonly id: string
    readonly level: string
    readonly text: string
    readonly fix: string
    readonly page: string
  }[]
  readonly checks: readonly {
    readonly check: string
    readonly state: string
    readonly text: string
    readonly data: Readonly<Record<string, unknown>>
  }[]
}

/** Runs a command line in this process. */
export async function run(
  words: readonly string[],
  terminal: Partial<Terminal> = {},
): Promise<Run> {
  let out = ''
  let err = ''
  const code = await main(words, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    color: false,
    progress: false,
    onInterrupt: () => () => {},
    ...terminal,
  })
  return { code, out, err }
}

/** Runs `koaws doctor --json`, and checks that its exit code fits the findings. */
export async function diagnose(...words: string[]): Promise<DoctorJson & { ids: string[] }> {
  const { code, out, err } = await run(['doctor', '--json', ...words])
  if (err !== '') throw new Error(err)
  const result: DoctorJson = JSON.parse(out)
  if (code !== (result.findings.length === 0 ? 0 : 1)) throw new Error(`exit code ${code}`)
  return { ...result, ids: result.findings.map(({ id }) => id) }
}

/** Returns the row of one check. */
export function rowOf(result: DoctorJson, check: string): DoctorJson['checks'][number] {
  const row = result.checks.find((one) => one.check === check)
  if (!row) throw new Error(`no row ${check}: ${JSON.stringify(result.checks)}`)
  return row
}
