import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { errorTable, koaWs, OptionsError } from '../../lib/index.ts'
import { type KoaWsOptions, resolveOptions } from '../../lib/options.ts'
import { acceptChecks } from '../../lib/upgrade/accept-options.ts'
import { optionSections, optionsOf } from '../../scripts/generate-docs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the generated pages', () => {
  it('have a heading for each error code', () => {
    const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8')
    for (const code of Object.keys(errorTable)) expect(page).to.include(`\n### ${code}\n`)
  })

  it('name exactly the options of koaWs()', () => {
    const documented = optionsOf('lib/options.ts', 'KoaWsOptions').map(({ name }) => name)
    expect(documented.toSorted()).to.deep.equal(Object.keys(resolveOptions({})).sort())
    for (const name of documented) {
      // No option accepts a symbol, so a known name gets an error about its value.
      expect(() => koaWs({ [name]: Symbol() }), name)
        .to.throw(OptionsError)
        .with.property('message')
        .that.includes(name)
        .and.not.includes('has no option')
    }
  })

  it('name exactly the options of accept()', () => {
    const documented = optionsOf('lib/upgrade/accept-options.ts', 'AcceptOptions')
    expect(documented.map(({ name }) => name).toSorted()).to.deep.equal(
      Object.keys(acceptChecks).sort(),
    )
  })

  it('state the defaults of koaWs()', () => {
    const defaults = resolveOptions({})
    let told = 0
    for (const { name, fallback } of optionsOf('lib/options.ts', 'KoaWsOptions')) {
      const real = defaults[name as keyof KoaWsOptions]
      if (real === undefined) continue
      const literal = literalOf(fallback ?? '')
      if (real === Number.POSITIVE_INFINITY) expect(fallback, name).to.equal('unlimited')
      else expect(literal, name).to.deep.equal(JSON.parse(JSON.stringify(real)))
      told++
    }
    expect(told).to.be.above(8)
  })

  it('give a required option its own row', () => {
    for (const [file, type] of [
      ['adapter', 'RedisAdapterOptions'],
      ['emitter', 'RedisEmitterOptions'],
    ]) {
      const [client, prefix] = optionsOf(`lib/adapters/redis/${file}.ts`, type as string)
      expect([client?.name, client?.fallback]).to.deep.equal(['client', 'required'])
      expect([prefix?.name, prefix?.fallback]).to.deep.equal(['prefix', "'koaws:'"])
      expect(prefix?.text).to.match(/^The prefix of/)
    }
  })

  it('describe every option of every listed interface', () => {
    for (const { file, type } of optionSections) {
      for (const { name, text } of optionsOf(file, type))
        expect(text, `${type}.${name}`).to.match(/\S/)
    }
  })
})

describe('the links of the docs', () => {
  const pages = [
    ...['README.md', 'README.zh-CN.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'].filter(
      (name) => existsSync(join(root, name)),
    ),
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
  ]

  for (const page of pages) {
    it(`${page.replaceAll('\\', '/')} point to existing files and headings`, () => {
      const text = withoutCode(readFileSync(join(root, page), 'utf8'))
      const broken = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link]) => link as string)
        .filter((link) => !/^[a-z][a-z+.-]*:/i.test(link))
        .filter((link) => !isThere(page, link))
      expect(broken).to.deep.equal([])
    })
  }
})

function literalOf(text: string): unknown {
  if (text.startsWith('{')) {
    const pairs = [...text.matchAll(/(\w+): ([\d_]+)/g)]
    return Object.fromEntries(
      pairs.map(([, name, number]) => [name, Number((number as string).replaceAll('_', ''))]),
    )
  }
  const [, word] = /^('[^']*'|true|false|[\d_,]*\d)/.exec(text) ?? []
  if (word === undefined) return undefined
  if (word.startsWith("'")) return word.slice(1, -1)
  if (word === 'true' || word === 'false') return word === 'true'
  return Number(word.replace(/[_,]/g, ''))
}

function withoutCode(text: string): string {
  return text
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => 'x'.repeat(code.length))
}

function isThere(page: string, link: string): boolean {
  const [path = '', heading] = decodeURIComponent(link).split('#')
  const file = path === '' ? join(root, page) : join(root, dirname(page), path)
  if (!existsSync(file)) return false
  return heading === undefined || !file.endsWith('.md') || headingsOf(file).has(heading)
}

/** Returns the anchors of a page, as GitHub generates them. */
function headingsOf(file: string): Set<string> {
  const text = readFileSync(file, 'utf8').replace(/^```[\s\S]*?^```/gm, '')
  return new Set(
    [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) =>
      (title as string)
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}
