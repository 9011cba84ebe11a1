// Parses and checks the words of a command line.
import { parseArgs } from 'node:util'

/** A wrong command line. Its message repeats no value, which may be a credential. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError'
}

/** An option of a command: a switch, a text, or a text that may be given several times. */
export type Kind = 'switch' | 'text' | 'list'

/** The words of a command line, by option. */
export class Arguments {
  readonly positionals: readonly string[]
  readonly #values: ReadonlyMap<string, readonly string[] | true>

  /** @throws UsageError for an unknown option, a missing value, or a repeated option */
  constructor(words: readonly string[], kinds: Readonly<Record<string, Kind>>) {
    const options = Object.fromEntries(
      Object.entries(kinds).map(([name, kind]) => [
        name,
        { type: kind === 'switch' ? ('boolean' as const) : ('string' as const), multiple: true },
      ]),
    )
    const parsed = parse(words, options)
    this.positionals = parsed.positionals
    const values = new Map<string, readonly string[] | true>()
    for (const [name, value] of Object.entries(parsed.values)) {
      const all = Array.isArray(value) ? value : []
      if (all.length > 1 && kinds[name] !== 'list')
        throw new UsageError(`--${name} was given ${all.length} times; it takes one value.`)
      values.set(name, kinds[name] === 'switch' ? true : all.map(String))
    }
    this.#values = values
  }

  /** Returns whether a switch was given. */
  has(name: string): boolean {
    return this.#values.has(name)
  }

  /** Returns the value of an option, if it was given. */
  text(name: string): string | undefined {
    return this.list(name)[0]
  }

  /** Returns the values of an option, in their order. */
  list(name: string): readonly string[] {
    const value = this.#values.get(name)
    return value === undefined || value === true ? [] : value
  }

  /** Returns a number, or the default. @throws UsageError outside of the range */
  number(name: string, fallback: number, [least, most]: readonly [number, number]): number {
    const text = this.text(name)
    if (text === undefined) return fallback
    const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new UsageError(`--${name} must be a number from ${least} to ${most}.`)
  }

  /** Returns a whole number, or the default. @throws UsageError outside of the range */
  whole(name: string, fallback: number, range: readonly [number, number]): number {
    const value = this.number(name, fallback, range)
    if (Number.isInteger(value)) return value
    throw new UsageError(`--${name} must be a whole number.`)
  }

  /**
   * Returns a number of bytes, such as `65536`, `64K` or `1M`, or the default.
   *
   * @throws UsageError for another text, or outside of the range
   */
  bytes(name: string, fallback: number, [least, most]: readonly [number, number]): number {
    const text = this.text(name)
    if (text === undefined) return fallback
    const [, digits, unit = ''] = /^(\d{1,12})([KM]?)$/i.exec(text) ?? []
    const value = digits === undefined ? Number.NaN : Number(digits) * unitOf(unit)
    if (value >= least && value <= most) return value
    throw new UsageError(
      `--${name} must be a number of bytes such as 65536, 64K or 1M, from ${least} to ${most}.`,
    )
  }
}

function unitOf(unit: string): number {
  return unit === '' ? 1 : unit.toUpperCase() === 'K' ? 1_024 : 1_048_576
}

function parse(
  words: readonly string[],
  options: Record<string, { type: 'boolean' | 'string'; multiple: boolean }>,
): { positionals: string[]; values: Record<string, unknown> } {
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (error) {
    // The text of Node may repeat the value of an option, which may be a credential.
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const named = /'(-{1,2}[a-z][a-z-]*)/i.exec(String(error))?.[1] ?? 'an option'
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION')
      throw new UsageError(
        `there is no option ${named}. The options are ${Object.keys(options)
          .map((name) => `--${name}`)
          .join(', ')}.`,
      )
    throw new UsageError(
      `${named} needs ${options[named.slice(2)]?.type === 'boolean' ? 'no value' : 'a value'}; write --option=value for a value that begins with a dash.`,
    )
  }
}
