// docs/reference/api describes each export, with samples that run.
import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { needs } from '../support/programs.ts'
import { startRedis, stopRedis } from '../support/redis.ts'
import { installed, typeErrorsIn } from './support/reader.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'docs/reference/api')

/** A heading of a page, and the text below it up to the next heading. */
interface Section {
  page: string
  level: number
  title: string
  text: string
}

interface Sample {
  /** The page and heading. */
  title: string
  page: string
  code: string
  /** The output that the comments behind `console.log()` promise. */
  prints: string[]
}

const sections = readdirSync(folder).sort().flatMap(sectionsOf)
const samples = sections.flatMap(samplesOf)
const index = readFileSync(join(folder, 'index.md'), 'utf8')

/** Entry points with the file of their exports. `koaws` has the pages without another entry point. */
const entries = Object.entries({
  koaws: 'index.ts',
  'koaws/client': 'client/index.ts',
  'koaws/client/streams': 'client/streams.ts',
  'koaws/redis': 'adapters/redis/index.ts',
  'koaws/cluster': 'adapters/cluster/index.ts',
  'koaws/otel': 'otel/index.ts',
  'koaws/prometheus': 'prometheus/index.ts',
  'koaws/inspector': 'inspector/index.ts',
  'koaws/testing': 'testing/index.ts',
  'koaws/asyncapi': 'asyncapi/index.ts',
})

describe('the reference of the API', () => {
  it('is up to date, like the other generated pages', () => {
    const words = ['--import=tsx', 'scripts/generate-docs.ts', '--check']
    const { status, stderr } = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8' })
    expect(stderr).to.equal('')
    expect(status).to.equal(0)
  }).timeout(300_000)

  it('covers the entry points of package.json', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const names = Object.keys(manifest.exports).map((name) => name.replace('.', 'koaws'))
    expect(entries.map(([name]) => name)).to.have.members(
      names.filter((name) => name !== 'koaws/package.json'),
    )
  })

  for (const [entry, file] of entries) {
    it(`has each export of ${entry}, with a sentence in the index`, () => {
      const names = exportsOf(file)
      expect(names).to.not.deep.equal([])
      for (const name of names) {
        const found = sections.filter((one) => one.level === 2 && nameOf(one) === name)
        const section = found.find(({ page }) => entryOf(page) === entry)
        expect(section, `${entry} ${name}: add it to scripts/reference/pages`).to.not.equal(
          undefined,
        )
        expect(index).to.match(
          new RegExp(`^- \\[\`${name}(?:\\(\\))?\`\\]\\(${section?.page}#[\\w-]+\\): .{10,}`, 'm'),
        )
      }
    })

    it(`lists exactly the exports of ${entry}`, () => {
      const shown = sections.filter((one) => one.level === 2 && entryOf(one.page) === entry)
      expect(shown.map(nameOf)).to.have.members(exportsOf(file))
    })
  }

  it('describes each export, method and property in a sentence', () => {
    const silent = sections
      .filter(({ page, level }) => page !== 'index.md' && level > 1)
      .filter(({ text }) => !/^(?!Extends|See|Properties:)[A-Z`].{9,}/m.test(withoutCode(text)))
    expect(silent.map(({ page, title }) => `${page} ${title}`)).to.deep.equal([])
    const empty = sections.filter(({ text }) => /\| *\|$/m.test(withoutCode(text)))
    expect(empty.map(({ page, title }) => `${page} ${title}`)).to.deep.equal([])
  })

  it('begins the text of each function and method with a verb', () => {
    const other = sections
      .filter(({ title }) => title.endsWith('()'))
      .flatMap(({ page, title, text }) => {
        const [first = ''] = /^(?!Extends|See)[A-Z`].*/m.exec(withoutCode(text)) ?? []
        return /^[A-Z][a-z]+s\b/.test(first) ? [] : [`${page} ${title}: ${first}`]
      })
    expect(other).to.deep.equal([])
  })

  it('describes each parameter of a function, method and constructor', () => {
    const silent = sections.flatMap(({ page, title, text }) => {
      const words = withoutCode(text)
      const codes = [...text.matchAll(/^```ts\n(?!type )(.*?)^```/gms)].map(
        ([, code]) => code ?? '',
      )
      const names = new Set(codes.flatMap((code) => parametersOf(code)))
      return [...names]
        .filter((name) => !words.includes(`\`${name}\``))
        .map((name) => `${page} ${title}: ${name}`)
    })
    expect(silent).to.deep.equal([])
  })

  it('has a sample for each function and class', () => {
    const without = sections
      .filter(({ level, title, text }) => level === 2 && /\(\)$/.test(title) && text !== '')
      .concat(sections.filter(({ text }) => /^```ts\nnew /m.test(text)))
      .concat(
        sections.filter(({ page, title }) => `${page} ${title}` === 'connections.md Connection'),
      )
      .filter((section) => samplesOf(section).length === 0)
    expect(without.map(({ page, title }) => `${page} ${title}`)).to.deep.equal([])
  })

  it('has unique anchors within a page', () => {
    const anchors = sections.map(({ page, title }) => `${page}#${anchorOf(title)}`)
    expect(anchors.filter((one, at) => anchors.indexOf(one) < at)).to.deep.equal([])
  })

  it('contains no source line, date or local path', () => {
    for (const { page, text } of sections)
      expect(text, page).to.not.match(/\.ts:\d|\b20\d\d-\d\d|file:\/\/|\/(?:home|work|tmp|Users)\//)
  })
})

describe('the samples of the reference', () => {
  const of = (page: RegExp): Sample[] => samples.filter((sample) => page.test(sample.page))
  let home: string
  before(() => {
    home = installed()
  })
  after(() => rmSync(home, { recursive: true, force: true }))

  it('pass the type check', async () => {
    const types = join(home, 'types')
    write(types, samples, 'ts')
    expect(await typeErrorsIn(types)).to.equal('')
  })

  describe('without other programs', () => {
    const results = run(() => home, of(/^(?!redis)/))
    for (const { title } of of(/^(?!redis)/))
      it(`${title} exits, and prints the output in its comments`, () => results.check(title))
  })

  describe('with Redis', () => {
    needs('redis-server')
    before(async () => {
      const { port } = await startRedis()
      process.env['REDIS_URL'] = `redis://127.0.0.1:${port}`
    })
    after(async () => {
      await stopRedis()
      delete process.env['REDIS_URL']
    })
    const results = run(() => home, of(/^redis/))
    for (const { title } of of(/^redis/))
      it(`${title} exits, and prints the output in its comments`, () => results.check(title))
  })
})

/** Runs samples in separate processes, a few at a time, before the tests of a block. */
function run(home: () => string, some: readonly Sample[]): { check: (title: string) => void } {
  const outputs = new Map<string, { error: unknown; stdout: string; stderr: string }>()
  before(async function () {
    this.timeout(600_000) // all samples, a few at a time
    const files = write(home(), some, 'mjs')
    const waiting = some.map((sample, at) => ({ sample, file: files[at] as string }))
    const lane = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift())
        outputs.set(next.sample.title, await output(next.file))
    }
    await Promise.all(Array.from({ length: availableParallelism() }, lane))
  })
  return {
    check(title) {
      const { error, stdout, stderr } = outputs.get(title) ?? {}
      const { prints } = some.find((one) => one.title === title) as Sample
      expect(error, `${stdout}${stderr}`).to.equal(null)
      expect(stderr).to.equal('')
      expect(prints).to.not.deep.equal([])
      expect(stdout?.trimEnd().split('\n')).to.have.members(prints)
    },
  }
}

function output(file: string): Promise<{ error: unknown; stdout: string; stderr: string }> {
  // A sample that does not exit is killed, which is an error.
  const options = { timeout: 120_000, env: { ...process.env, NODE_OPTIONS: '' } }
  return new Promise((resolve) => {
    execFile(process.execPath, [file], options, (error, stdout, stderr) =>
      resolve({ error, stdout, stderr }),
    )
  })
}

function write(target: string, some: readonly Sample[], extension: string): string[] {
  mkdirSync(target, { recursive: true })
  return some.map(({ title, code }) => {
    const file = join(target, `${title.replaceAll(/\W+/g, '-')}.${extension}`)
    writeFileSync(file, code)
    return file
  })
}

function sectionsOf(page: string): Section[] {
  const blocks = readFileSync(join(folder, page), 'utf8').split(/^(?=#{1,3} )/m)
  return blocks
    .filter((block) => block.startsWith('#'))
    .map((block) => {
      const [head = '', ...rest] = block.split('\n')
      const [marks = '', ...words] = head.split(' ')
      return { page, level: marks.length, title: words.join(' '), text: rest.join('\n') }
    })
}

function samplesOf({ page, title, text }: Section): Sample[] {
  return [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = ''], at) => ({
    title: `${page.replace('.md', '')} ${title}${at > 0 ? ` (${at + 1})` : ''}`,
    page,
    code,
    prints: [...code.matchAll(/\bconsole\.log\(.*\)+ \/\/ (.*)$/gm)].map(([, line = '']) => line),
  }))
}

function nameOf({ title }: Section): string {
  return title.replace(/\(\)$| \(type\)$/, '')
}

/** Returns the entry point of a page; the index and the types without an export have none. */
function entryOf(page: string): string {
  if (page === 'index.md' || page === 'types.md') return ''
  const own = entries.find(
    ([name]) => name === `koaws/${page.replace('.md', '').replace('-', '/')}`,
  )
  return own?.[0] ?? 'koaws'
}

/** Returns the names that a file of `lib/` exports, including types. */
function exportsOf(file: string): string[] {
  const text = readFileSync(join(root, 'lib', file), 'utf8').replace(/^ *\/\/.*\n/gm, '')
  const lists = [...text.matchAll(/^export (?:type )?\{(.*?)\} from/gms)]
  return lists
    .flatMap(([, list = '']) => list.split(','))
    .map((name) => name.trim().replace(/^type /, ''))
    .filter((name) => name !== '' && !/ as /.test(name))
}

/** The names of the parameters in a signature; a parameter that is taken apart has none. */
function parametersOf(signature: string): string[] {
  const found: string[] = []
  let depth = 0
  let text = ''
  // Type parameters, which contain no `(` of their own at the start, end with `>(`.
  const list = signature.slice(/^\(|[\w\]?>]\(/.exec(signature)?.index ?? 0)
  for (const char of list.slice(list.indexOf('(') + 1)) {
    if ('([{<'.includes(char)) depth++
    else if (')]}>'.includes(char) && !text.endsWith('=')) depth--
    if (depth < 0 || (depth === 0 && char === ',')) {
      found.push(/^\s*(?:\.\.\.)?(\w+)\??\s*[:=]/.exec(text)?.[1] ?? '')
      text = ''
    } else text += char
    if (depth < 0) break
  }
  return found.filter((name) => !['', 'this', '_protocol'].includes(name))
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '')
}

/** Returns the anchor of a heading, as GitHub generates it. */
function anchorOf(title: string): string {
  const kept = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '')
  return kept.replaceAll(' ', '-')
}
