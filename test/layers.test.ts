import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))
const lib = join(root, 'lib')

/** The stages of lib/, earliest first: a file imports from its own entry and from earlier ones. */
const STAGES: readonly (readonly string[])[] = [
  [
    'debug',
    'diagnostics',
    'fields',
    'patterns',
    'thenable',
    'tracer',
    'validate',
    'warn',
    'message-faults',
    'error-table',
    'errors',
    'protocol',
    'history-contract',
    'retry',
    'streams',
  ],
  ['connection', 'client'],
  ['backplane'],
  ['history'],
  ['upgrade', 'hub', 'messages'],
  ['listener'],
  ['middleware'],
  ['adapters'],
  ['close-options'],
  ['options'],
  ['plugin'],
  ['koa-ws'],
  ['common-js'],
  ['index'],
  ['testing', 'asyncapi', 'inspector', 'metrics'],
  ['otel', 'prometheus', 'cli'],
]

/** The top floor: its parts use what `index.ts` exports, the channels, and two of each other. */
const TOP: readonly string[] = ['metrics', 'otel', 'prometheus', 'asyncapi', 'cli', 'inspector']

/** The parts of the first stage may import each other; parts of any other stage may not. */
const BASICS = STAGES[0] as readonly string[]

/** The most lines of a file, and of a class. */
const LONGEST = 350
const LONGEST_CLASS = 250
/** The most imports of a file. */
const IMPORTS = 20
/** The most casts with `as` in 1,000 lines, `as const` left out. */
const CASTS = 12

interface Source {
  /** Path from lib/, with slashes. */
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
}

function readSources(): Source[] {
  return readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(lib, path), 'utf8')
      return { path, text, imports: importsOf(path, text) }
    })
}

/** Returns the paths that a file imports or exports from, with types and `import()` types. */
function importsOf(path: string, text: string): string[] {
  const statements = text.matchAll(/^(?:import|export)\b[^'"`;]*?\bfrom\s*['"](\.[^'"]+)['"]/gm)
  const bare = text.matchAll(/^import\s*['"](\.[^'"]+)['"]/gm)
  const inline = text.matchAll(/\bimport\(\s*['"](\.[^'"]+)['"]\s*\)/g)
  const found = new Set<string>()
  for (const [, specifier] of [...statements, ...bare, ...inline]) {
    const target = join(lib, dirname(path), specifier as string)
    found.add(relative(lib, target).replaceAll('\\', '/'))
  }
  return [...found]
}

/**
 * Returns the text of a file without comments, strings and imports; expressions in templates
 * stay.
 */
function codeOf(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
    .replace(/`[^`\n]*`/g, (template) => (template.match(/\$\{[^}]*\}/g) ?? []).join(' '))
    .replace(/\/\/.*/g, '')
    .replace(/^(?:import|export)\b[^;=()]*?\bfrom\s*''/gm, '')
}

function castsIn(text: string): number {
  return [...codeOf(text).matchAll(/[\w)\]}>'!]\s+as\s+(?!const\b)(?=[\w{(['])/g)].length
}

/** Returns the classes of a file, with their lines from the head to the closing brace. */
function classesOf(text: string): { name: string; lines: number }[] {
  const found = text.matchAll(
    /^(?:export )?(?:default )?(?:abstract )?class (\w+)(?:[^\n]*\{\}$|[\s\S]*?^\}$)/gm,
  )
  return [...found].map(([whole, name]) => ({
    name: name as string,
    lines: whole.split('\n').length,
  }))
}

function countImports(text: string): number {
  return [...text.matchAll(/^import\b[^'"`;]*?\bfrom\s*['"][^'"]+['"]/gm)].length
}

/** The contract of a history store, which adapters refer to. The rest of lib/history/ comes later. */
const HISTORY_CONTRACT: readonly string[] = ['history/store.ts', 'history/place.ts']

/** Returns the part of a path: `upgrade` for `upgrade/listener.ts`, `koa-ws` for `koa-ws.ts`. */
function partOf(path: string): string {
  if (HISTORY_CONTRACT.includes(path)) return 'history-contract'
  return (path.split('/')[0] as string).replace(/\.ts$/, '')
}

function stageOf(path: string): number {
  return STAGES.findIndex((parts) => parts.includes(partOf(path)))
}

function mayImport(from: string, to: string): boolean {
  if (partOf(from) === partOf(to)) return true
  if (BASICS.includes(partOf(from)) && BASICS.includes(partOf(to))) return true
  return stageOf(to) < stageOf(from)
}

/** Returns a chain of files for each circular import. */
function findCycles(sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const done = new Set<string>()
  const cycles: string[] = []
  const walk = (path: string, chain: readonly string[]): void => {
    const start = chain.indexOf(path)
    if (start >= 0) {
      cycles.push([...chain.slice(start), path].join(' -> '))
      return
    }
    if (done.has(path)) return
    for (const next of byPath.get(path)?.imports ?? []) walk(next, [...chain, path])
    done.add(path)
  }
  for (const { path } of sources) walk(path, [])
  return cycles
}

describe('the layers of lib/', () => {
  const sources = readSources()
  const paths = new Set(sources.map(({ path }) => path))

  it('contain each file of lib/ exactly once', () => {
    expect(sources).to.have.length.above(30)
    expect(sources.map(({ path }) => path).filter((path) => stageOf(path) < 0)).to.deep.equal([])
  })

  it('import files of lib/ that exist', () => {
    const lost = sources.flatMap(({ path, imports }) =>
      imports.filter((target) => !paths.has(target)).map((target) => `${path} -> ${target}`),
    )
    expect(lost).to.deep.equal([])
    expect(sources.find(({ path }) => path === 'plugin.ts')?.imports).to.include('hub/shutdown.ts')
  })

  it('import only from earlier stages, types included', () => {
    const against = sources.flatMap(({ path, imports }) =>
      imports.filter((target) => !mayImport(path, target)).map((target) => `${path} -> ${target}`),
    )
    expect(against).to.deep.equal([])
  })

  it('import only public names on the top floor', () => {
    const isAllowed = (from: string, to: string): boolean =>
      to === 'index.ts' ||
      partOf(from) === partOf(to) ||
      partOf(to) === 'metrics' ||
      partOf(to) === 'asyncapi'
    const top = sources.filter(({ path }) => TOP.includes(partOf(path)))
    expect(top).to.have.length.above(20)
    const against = top.flatMap(({ path, imports }) =>
      imports.filter((target) => !isAllowed(path, target)).map((target) => `${path} -> ${target}`),
    )
    expect(against).to.deep.equal([])
  })

  it('have no circular imports, types included', () => {
    expect(findCycles(sources)).to.deep.equal([])
  })

  it('are checked by functions that find circular and wrong imports', () => {
    const file = (path: string, ...imports: string[]): Source => ({ path, text: '', imports })
    expect(findCycles([file('a', 'b'), file('b', 'c'), file('c', 'b')])).to.deep.equal([
      'b -> c -> b',
    ])
    expect(mayImport('upgrade/x.ts', 'hub/y.ts')).to.equal(false)
    expect(mayImport('connection/x.ts', 'upgrade/y.ts')).to.equal(false)
    expect(importsOf('hub/x.ts', "import type {\n  A,\n} from '../errors.ts'\n")).to.deep.equal([
      'errors.ts',
    ])
  })

  it(`have no file of more than ${LONGEST} lines`, () => {
    const long = sources
      .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
      .filter(({ lines }) => lines > LONGEST)
    expect(long).to.deep.equal([])
  })

  it(`have no class of more than ${LONGEST_CLASS} lines`, () => {
    const classes = sources.flatMap(({ path, text }) =>
      classesOf(text).map((one) => ({ path, ...one })),
    )
    expect(classes).to.have.length.above(60)
    expect(classes.filter(({ lines }) => lines > LONGEST_CLASS)).to.deep.equal([])
  })

  it(`have no file with more than ${IMPORTS} imports`, () => {
    const many = sources
      .map(({ path, text }) => ({ path, imports: countImports(text) }))
      .filter(({ imports }) => imports > IMPORTS)
    expect(many).to.deep.equal([])
  })

  it('export no variable that can be reassigned', () => {
    const found = sources.filter(({ text }) => /^export (?:let|var)\b/m.test(text))
    expect(found.map(({ path }) => path)).to.deep.equal([])
  })

  it(`have at most ${CASTS} casts in 1,000 lines`, () => {
    const lines = sources.reduce((sum, { text }) => sum + text.trimEnd().split('\n').length, 0)
    const casts = sources.reduce((sum, { text }) => sum + castsIn(text), 0)
    expect(casts).to.be.above(100)
    expect((1_000 * casts) / lines).to.be.at.most(CASTS)
  })

  it('are measured without comments and strings', () => {
    const text = [
      "import { a as b } from './a.ts'",
      '/* as many */ const c = x as Y // as is',
      'const d = `$' + '{e as string} as`',
      "const f = [1, 'as is'] as const",
      'export class A extends B {}',
      'class C {',
      '  m() {}',
      '}',
    ].join('\n')
    expect(castsIn(text)).to.equal(2)
    expect(countImports(text)).to.equal(1)
    expect(classesOf(text)).to.deep.equal([
      { name: 'A', lines: 1 },
      { name: 'C', lines: 3 },
    ])
  })

  it('begin with a head sentence, which says what the file is for', () => {
    const headless = sources.filter(({ text }) => !/^(?:#!.*\n)?\/\/ [A-Z`].*\.\n/.test(text))
    expect(headless.map(({ path }) => path)).to.deep.equal([])
  })

  it('are described in at most 2,550 words', () => {
    expect(architecture().split(/\s+/).length).to.be.at.most(2_550)
  })

  it('have a row for each folder in docs/architecture.md', () => {
    const folders = new Set(sources.map(({ path }) => posix.join('lib', dirname(path), '/')))
    const rows = architecture().matchAll(/^\| `(lib\/[^`]*)` \|/gm)
    expect([...rows].map(([, folder]) => folder as string).toSorted()).to.deep.equal(
      [...folders].sort(),
    )
  })

  it('contain every file that the pages about the architecture name', () => {
    const pages = ['architecture', 'architecture-history', 'architecture-streams']
      .map((page) => architecture(`${page}.md`))
      .join('')
    const words = pages.matchAll(/`((?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts)`/g)
    const named = [...words].map(([, name]) => name as string)
    expect(named).to.have.length.above(30)
    const inLib = named.filter((name) => !/^(?:scripts|test)\//.test(name))
    expect(inLib.filter((name) => !paths.has(name))).to.deep.equal([])
  })
})

function architecture(page = 'architecture.md'): string {
  return readFileSync(join(root, 'docs', page), 'utf8')
}
