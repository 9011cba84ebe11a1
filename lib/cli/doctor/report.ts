// Prints the results of the doctor: rows as they come, then the findings; or one JSON object.
import type { Target } from '../target.ts'
import { type Paint, paint, type Terminal, wrap } from '../terminal.ts'
import type { Finding, FindingId } from './findings.ts'
import type { Listener, Row } from './types.ts'

/** A report in the making. */
export interface Report extends Listener {
  /** Prints the rest. Returns the exit code. */
  finish(seconds: number): number
}

const MARKS: Readonly<Record<Row['state'], readonly [mark: string, color: Paint]>> = {
  ok: ['✓', 'green'],
  info: ['·', 'dim'],
  skipped: ['–', 'dim'],
  warning: ['!', 'yellow'],
  error: ['✗', 'red'],
}
const NAME_WIDTH = 14

/** Returns a report in sentences. */
export function textReport(
  terminal: Terminal,
  target: Target,
  ignored: ReadonlySet<FindingId>,
): Report {
  const findings: Finding[] = []
  const indent = ' '.repeat(4 + NAME_WIDTH)
  terminal.out(`\n${paint(terminal, 'bold', target.shown)}\n\n`)
  return {
    row({ check, state, text }) {
      const [mark, color] = MARKS[state]
      const line = `${paint(terminal, color, mark)} ${check.padEnd(NAME_WIDTH)}${wrap(text, indent)}`
      terminal.out(`  ${line}\n`)
    },
    found(found) {
      if (!known(findings, found) && !ignored.has(found.id)) findings.push(found)
    },
    waiting(text) {
      if (terminal.progress) terminal.err(`    ${text}\n`)
    },
    finish(seconds) {
      for (const found of sorted(findings)) terminal.out(findingText(terminal, found))
      terminal.out(`\n${summary(terminal, findings, seconds)}\n\n`)
      return findings.length === 0 ? 0 : 1
    },
  }
}

/** Returns a report as one JSON object. */
export function jsonReport(
  terminal: Terminal,
  target: Target,
  ignored: ReadonlySet<FindingId>,
): Report {
  const findings: Finding[] = []
  const checks: Row[] = []
  return {
    row: (row) => void checks.push(row),
    found(found) {
      if (!known(findings, found) && !ignored.has(found.id)) findings.push(found)
    },
    waiting(text) {
      if (terminal.progress) terminal.err(`${text}\n`)
    },
    finish(seconds) {
      const ok = findings.length === 0
      const result = {
        version: 1,
        url: target.shown,
        ok,
        seconds,
        findings: sorted(findings),
        checks,
      }
      terminal.out(`${JSON.stringify(result, null, 2)}\n`)
      return ok ? 0 : 1
    },
  }
}

/** One cause shows in several checks; the first finding has the most facts. */
function known(findings: readonly Finding[], { id }: Finding): boolean {
  return findings.some((one) => one.id === id)
}

function sorted(findings: readonly Finding[]): Finding[] {
  const rank = ({ level }: Finding): number => (level === 'error' ? 0 : 1)
  return findings.toSorted((a, b) => rank(a) - rank(b))
}

function findingText(terminal: Terminal, { id, level, text, fix, page }: Finding): string {
  const [mark, color] = MARKS[level]
  return [
    '',
    `${paint(terminal, color, mark)} ${paint(terminal, 'bold', id)}`,
    `  ${wrap(text, '  ')}`,
    `  ${wrap(fix, '  ')}`,
    `  ${paint(terminal, 'dim', page)}`,
    '',
  ].join('\n')
}

function summary(terminal: Terminal, findings: readonly Finding[], seconds: number): string {
  const time = `in ${seconds.toFixed(1)} s`
  if (findings.length === 0) return paint(terminal, 'green', `No problem found ${time}.`)
  const errors = findings.filter(({ level }) => level === 'error').length
  const warnings = findings.length - errors
  const parts = [counted(errors, 'problem'), counted(warnings, 'warning')].filter(Boolean)
  return paint(terminal, errors > 0 ? 'red' : 'yellow', `${parts.join(' and ')} ${time}.`)
}

function counted(count: number, noun: string): string {
  return count === 0 ? '' : `${count} ${noun}${count === 1 ? '' : 's'}`
}
