// The command `koaws contract`: prints what a new document breaks for clients of an old one.
import { readFile } from 'node:fs/promises'
import { checkContract } from './contract.ts'
import type { ContractFinding } from './findings.ts'

const USAGE = `Usage: koaws contract check <old.json> <new.json> [--json]

Compares two AsyncAPI 3 documents, such as those of asyncapi() from koaws/asyncapi,
and prints each change that may break a client of the old one.

  --json   print the findings as JSON

Exit code: 0 without a finding, 1 with one, 2 if the documents cannot be compared.
`

/** Where a command prints. */
export interface CommandOutput {
  write(text: string): unknown
}

/**
 * Runs `koaws contract`.
 *
 * @param args the arguments after `contract`
 * @param out where the findings go
 * @returns the exit code: 0 without a finding, 1 with one, 2 for wrong arguments or files
 */
export async function run(args: readonly string[], out: CommandOutput): Promise<number> {
  const options = args.filter((one) => one.startsWith('-'))
  const words = args.filter((one) => !one.startsWith('-'))
  if (options.some((one) => one === '--help' || one === '-h')) {
    out.write(USAGE)
    return 0
  }
  const unknown = options.find((one) => one !== '--json')
  const [command, before, after, ...rest] = words
  if (unknown !== undefined) return refuse(out, `There is no option ${unknown}.`)
  if (command !== 'check') {
    const problem = command === undefined ? 'A command is missing.' : `There is no "${command}".`
    return refuse(out, problem)
  }
  if (before === undefined || after === undefined || rest.length > 0)
    return refuse(out, 'The command takes two files: the old document and the new one.')
  let findings: ContractFinding[]
  try {
    findings = checkContract(await read(before), await read(after))
  } catch (error) {
    out.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 2
  }
  out.write(
    options.includes('--json') ? `${JSON.stringify(findings, null, 2)}\n` : textOf(findings),
  )
  return findings.length > 0 ? 1 : 0
}

function refuse(out: CommandOutput, problem: string): number {
  out.write(`${problem}\n\n${USAGE}`)
  return 2
}

/** @throws Error with a sentence for a file that cannot be read or is not JSON */
async function read(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new Error(`${file} cannot be read: ${error instanceof Error ? error.message : error}.`)
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    throw new Error(`${file} is not JSON. Write the document with JSON.stringify().`)
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
