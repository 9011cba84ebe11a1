// Checks the language of comments, test titles and Markdown against the rules in CONTRIBUTING.md.
// Usage: node --import=tsx scripts/prose.ts [--all] [--update] [path …]
// Findings may not rise above the counts in prose-limits.json; --update writes the present counts,
// --all prints every finding, a path prints the findings of the files below it.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  commentsOf,
  excesses,
  findings,
  type Kind,
  type Passage,
  passagesOf,
  type Statistics,
  statistics,
  titlesOf,
} from './prose-rules.ts'

interface Figures extends Statistics {
  counts: Record<Kind, number>
}

interface Finding {
  file: string
  line: number
  kind: Kind
  problem: string
}

const KINDS: readonly Kind[] = ['pronoun', 'vague', 'length', 'heading']
const LIMITS = 'scripts/prose-limits.json'
/** Limits for the pages of docs/ that are written by hand; the other areas must not get worse. */
const STRICT = {
  area: 'docs',
  goals: [
    { figure: 'words', most: 40_000, unit: 'words' },
    { figure: 'median', most: 16, unit: 'words in the median sentence' },
    { figure: 'negative', most: 5, unit: '% of sentences with no, none, nobody or nothing' },
  ],
} as const

const read = (file: string): string => readFileSync(file, 'utf8')
const markdown = (file: string): Passage[] => passagesOf(read(file))

/**
 * Areas with their files and the prose in them. A file belongs to the first area that matches it.
 */
const areas: Record<string, { files: RegExp; prose: (file: string) => Passage[] }> = {
  lib: { files: /^lib\/.*\.ts$/, prose: (file) => commentsOf(read(file)) },
  test: {
    files: /^test\/.*\.ts$/,
    prose: (file) => [...titlesOf(read(file)), ...commentsOf(read(file))],
  },
  scripts: {
    files: /^(?:scripts|bench|examples)\/.*\.(?:ts|mjs)$/,
    prose: (file) => commentsOf(read(file)),
  },
  readme: { files: /^(?:README|CONTRIBUTING|SECURITY)\.md$/, prose: markdown },
  changelog: { files: /^CHANGELOG\.md$/, prose: markdown },
  examples: { files: /^(?:examples|bench|test)\/.*\.md$/, prose: markdown },
  reference: { files: /^docs\/(?:reference\/.*|compatibility)\.md$/, prose: markdown },
  architecture: {
    files: /^docs\/(?:architecture|undocumented|decisions\/.*)\.md$/,
    prose: markdown,
  },
  docs: { files: /^docs\/(?!zh-CN\/).*\.md$/, prose: markdown },
}

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const words = process.argv.slice(2)
const paths = words.filter((word) => !word.startsWith('--')).map((path) => resolve(path))
const limits: Record<string, Partial<Record<Kind, number>>> = existsSync(LIMITS)
  ? JSON.parse(read(LIMITS))
  : {}
const figures: Record<string, Figures> = {}
const problems: Finding[] = []
let failed = false

// Chinese pages have rules of their own.
const tree = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => existsSync(file) && !/zh-CN|\/results\//.test(file))
  .sort()
const taken = new Set<string>()
for (const [area, { files, prose }] of Object.entries(areas)) {
  const passages: Passage[] = []
  const found: Finding[] = []
  for (const file of filesOf(files)) {
    const some = prose(file)
    passages.push(...some)
    found.push(...findings(some).map((finding) => ({ file, ...finding })))
  }
  const counts = Object.fromEntries(
    KINDS.map((kind) => [kind, found.filter((finding) => finding.kind === kind).length]),
  ) as Record<Kind, number>
  figures[area] = { ...statistics(passages), counts }
  problems.push(...judge(area, found))
}

for (const { file, line, problem } of problems) console.log(`${file}:${line}: ${problem}`)
printSummary()
if (words.includes('--update')) {
  const kept = Object.entries(figures).map(([area, { counts }]) => [area, counts])
  writeFileSync(LIMITS, `${JSON.stringify(Object.fromEntries(kept), null, 2)}\n`)
} else if (failed) process.exitCode = 1

/** Returns the findings to print: all requested ones, and those of a kind above its limit. */
function judge(area: string, found: readonly Finding[]): Finding[] {
  const above = new Set<Kind>()
  for (const kind of KINDS) {
    const limit = limits[area]?.[kind] ?? 0
    const count = figures[area]?.counts[kind] ?? 0
    if (count > limit) above.add(kind)
  }
  if (above.size > 0) failed = true
  return found.filter(({ file, kind }) => {
    if (paths.length > 0) return paths.some((path) => resolve(file).startsWith(path))
    return words.includes('--all') || above.has(kind)
  })
}

function printSummary(): void {
  const head = ['area', 'words', 'sentences', 'median', 'no/none/…', ...KINDS, 'limits']
  const rows = Object.entries(figures).map(([area, { counts, ...rest }]) => [
    area,
    String(rest.words),
    String(rest.sentences),
    String(rest.median),
    `${rest.negative.toFixed(1)} %`,
    ...KINDS.map((kind) => String(counts[kind])),
    KINDS.map((kind) => limits[area]?.[kind] ?? 0).join(' '),
  ])
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => (row[at] as string).length)),
  )
  for (const row of [head, ...rows])
    console.log(row.map((cell, at) => cell.padEnd(widths[at] as number)).join('  '))

  for (const excess of excesses(STRICT.area, figures[STRICT.area] as Figures, STRICT.goals)) {
    failed = true
    console.log(excess)
  }
  const loose = Object.entries(figures).some(([area, { counts }]) =>
    KINDS.some((kind) => counts[kind] < (limits[area]?.[kind] ?? 0)),
  )
  if (loose) console.log('Some limits can be lowered: npm run lint:prose -- --update')
}

/** Returns the files of the repository that match a pattern and are not in an earlier area. */
function filesOf(pattern: RegExp): string[] {
  const chosen = tree.filter((file) => pattern.test(file) && !taken.has(file))
  for (const file of chosen) taken.add(file)
  return chosen
}
