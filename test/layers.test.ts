import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))
const lib = join(root, 'lib')

/** The stages of lib/, earliest first: a file imports from its own entry and from earlier ones. */
const STAGES: readonly (readonly string[])[] = [
  ['debug', 'diagnostics', 'thenable', 'validate', 'errors', 'protocol'],
  ['connection', 'client'],
  ['backplane'],
  ['upgrade', 'hub', 'messages'],
  ['adapters'],
  ['options'],
  ['koa-ws'],
  ['index'],
  ['testing'],
]

/** Parts of one stage that may import each other; all others of one stage do not know each other. */
const BASICS = STAGES[0] as readonly string[]

const LONGEST = 510

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

/** What a file imports or exports from, types and `import()` types included. */
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

/** `upgrade/listener.ts` is of the part `upgrade`, `koa-ws.ts` of the part `koa-ws`. */
function partOf(path: string): string {
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

/** One chain of files that import each other in a circle for each circle that a walk meets. */
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

  it('are known, each file to one', () => {
    expect(sources).to.have.length.above(30)
    expect(sources.map(({ path }) => path).filter((path) => stageOf(path) < 0)).to.deep.equal([])
  })

  it('import files of lib/ that exist', () => {
    const lost = sources.flatMap(({ path, imports }) =>
      imports.filter((target) => !paths.has(target)).map((target) => `${path} -> ${target}`),
    )
    expect(lost).to.deep.equal([])
    expect(sources.find(({ path }) => path === 'koa-ws.ts')?.imports).to.include('hub/shutdown.ts')
  })

  it('import earlier stages only, types included', () => {
    const against = sources.flatMap(({ path, imports }) =>
      imports.filter((target) => !mayImport(path, target)).map((target) => `${path} -> ${target}`),
    )
    expect(against).to.deep.equal([])
  })

  it('hold no cycle between files, types included', () => {
    expect(findCycles(sources)).to.deep.equal([])
  })

  it('know a cycle when there is one', () => {
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

  it(`hold no file of more than ${LONGEST} lines`, () => {
    const long = sources
      .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
      .filter(({ lines }) => lines > LONGEST)
    expect(long).to.deep.equal([])
  })

  it('are described in docs/architecture.md, file by file, and nothing else is', () => {
    const page = readFileSync(join(root, 'docs', 'architecture.md'), 'utf8')
    const inLib = (name: string): boolean => !/^(?:scripts|test)\//.test(name)
    const words = page.matchAll(/`((?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts)`/g)
    const named = new Set([...words].map(([, name]) => name as string).filter(inLib))
    expect([...paths].filter((path) => !named.has(path))).to.deep.equal([])
    expect([...named].filter((name) => !paths.has(name))).to.deep.equal([])
  })
})
