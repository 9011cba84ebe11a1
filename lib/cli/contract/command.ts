// The command `koaws contract`: prints what a new document breaks for clients of an old one.
import { readFile } from 'node:fs/promises'
import { type ContractFinding, checkContract } from '../../asyncapi/index.ts'
import { Arguments, UsageError } from '../arguments.ts'
import type { Command } from '../command.ts'

const HELP = `Usage: npx koaws contract check <old.json> <new.json> [--json]

Compares two AsyncAPI 3 documents, such as those of asyncapi() from koaws/asyncapi,
and prints each change that may break a client of the old one.

  --json   print the findings as JSON

Exit code: 0 without a finding, 1 with one, 2 if the documents cannot be compared.
`

/** The command `koaws contract`. */
export const contract: Command = {
  summary: 'finds changes between two AsyncAPI documents that break clients',
  help: HELP,
  async run(words, terminal) {
    const args = new Arguments(words, { json: 'switch' })
    const [command, before, after, ...rest] = args.positionals
    if (command !== 'check') {
      const problem = command === undefined ? 'A command is missing.' : `There is no "${command}".`
      throw new UsageError(`${problem} The command is "check".`)
    }
    if (before === undefined || after === undefined || rest.length > 0)
      throw new UsageError('"check" takes two files: the old document and the new one.')
    const findings = compare(await read(before), await read(after))
    terminal.out(args.has('json') ? `${JSON.stringify(findings, null, 2)}\n` : textOf(findings))
    return findings.length > 0 ? 1 : 0
  },
}

/** @throws UsageError with the sentence of the check for a file that is no such document */
function compare(old: unknown, present: unknown): readonly ContractFinding[] {
  try {
    return checkContract(old, present)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

/** @throws UsageError with a sentence for a file that cannot be read or is not JSON */
async function read(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new UsageError(
      `${file} cannot be read: ${error instanceof Error ? error.message : error}.`,
    )
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    throw new UsageError(`${file} is not JSON. Write the document with JSON.stringify().`)
  }
}

function textOf(findings: readonly ContractFinding[]): string {
  if (findings.length === 0) return 'No breaking change.\n'
  const lines = findings.map(({ kind, type, pointer, message }) => {
    const subject = type === undefined ? '' : `${JSON.stringify(type)}: `
    const label = kind === 'breaking' ? 'breaking' : 'unclear '
    return `${label}  ${subject}${message}\n          ${pointer}\n`
  })
  const breaking = findings.filter(({ kind }) => kind === 'breaking').length
  const unclear = findings.length - breaking
  const sum = [
    count(breaking, 'breaking change', 'breaking changes'),
    ...(unclear > 0 ? [`${count(unclear, 'change', 'changes')} to check by hand`] : []),
  ]
  return `${lines.join('')}${sum.join(', ')}.\n`
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}
