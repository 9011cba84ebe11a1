// The Chinese pages have the code, structure and numbers of their English twins, comments in
// Chinese, and the typography of Chinese documentation.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const twins = [
  ['README.zh-CN.md', 'README.md'],
  ['docs/zh-CN/from-ws.md', 'docs/guides/from-ws.md'],
] as const

const read = (page: string): string => readFileSync(join(ROOT, page), 'utf8')
const BLOCK = /^```[^\n]+\n.*?^```$/gms
const blocks = (text: string): string[] => text.match(BLOCK) ?? []
const prose = (text: string): string => text.replace(BLOCK, '')
/** A comment at the end of a line of code, without the comment that names the file. */
const COMMENT = /(?<=^|\s)(\/\/|#) (?![\w./-]+\.\w+$)(.+)$/gm
const withoutComments = (block: string): string => block.replace(COMMENT, '$1')
const comments = (text: string): string[] =>
  blocks(text).flatMap((block) => [...block.matchAll(COMMENT)].map(([, , said]) => said as string))
const numbers = (text: string): string[] => text.match(/\d[\d.,]*(?<=\d)/g) ?? []
/** Returns the files that a page links to, except the given ones. */
const links = (page: string, ...without: string[]): string[] =>
  [...prose(read(page)).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link as string)
    .map((link) => (/^\w+:/.test(link) ? link : join(dirname(page), link)))
    .filter((link) => !without.includes(link))

describe('the Chinese pages', () => {
  for (const [chinese, english] of twins) {
    describe(chinese, () => {
      it(`has the code blocks of ${english}, in the same order`, () => {
        expect(blocks(read(english))).to.have.length.above(5)
        const code = (page: string): string[] => blocks(read(page)).map(withoutComments)
        expect(code(chinese)).to.deep.equal(code(english))
      })

      it('has a comment in Chinese, or the same comment, where the code has one', () => {
        const [translated, originals] = [comments(read(chinese)), comments(read(english))]
        expect(translated).to.have.lengthOf(originals.length)
        for (const [index, comment] of translated.entries()) {
          const original = originals[index] as string
          if (/\p{Script=Han}/u.test(comment))
            expect(numbers(comment), comment).to.deep.equal(numbers(original))
          else expect(comment).to.equal(original)
        }
      })

      it('has the same numbers', () => {
        const numbersOf = (page: string): string[] =>
          [...new Set(numbers(prose(read(page))))].sort()
        expect(numbersOf(chinese)).to.deep.equal(numbersOf(english))
      })

      it('has the same headings and tables', () => {
        const shape = (page: string): string[] =>
          [...prose(read(page)).matchAll(/^(?:(#+) |(\|).*)/gm)].map(([, level, row]) =>
            String(level ?? row),
          )
        expect(shape(chinese)).to.deep.equal(shape(english))
      })

      it('links to the same pages as its twin, and the two link to each other', () => {
        const own = [chinese, english, 'README.zh-CN.md', 'docs/zh-CN/from-ws.md']
        const pagesOf = (page: string): string[] => [...new Set(links(page, ...own))].sort()
        expect(pagesOf(chinese)).to.deep.equal(pagesOf(english))
        expect(links(chinese)).to.include(english)
        expect(links(english)).to.include(chinese)
      })

      it('separates Chinese and Latin by a space, and uses full-width punctuation in Chinese', () => {
        const page = read(chinese)
        const text = [prose(page).replace(/\]\([^)]*\)/g, ']'), ...comments(page)].join('\n\n')
        const wrong = [
          /[\p{Script=Han}][\w`]|[\w`][\p{Script=Han}]/gu, // without a space
          /[\p{Script=Han}] ?[,;:!?()]|[,;:!?()] ?[\p{Script=Han}]/gu, // half-width
          / [，。；：、（）？！]|[，。；：、（）？！] (?!\|)/gu, // a space at a full-width mark
          /[\p{Script=Han}] [\p{Script=Han}]/gu,
          /[\p{Script=Han}，。；：、]\n[\p{Script=Han}`[]/gu, // a line break renders as a space
        ].flatMap((pattern) => [...text.matchAll(pattern)].map(([found]) => found))
        expect(wrong).to.deep.equal([])
      })
    })
  }
})
