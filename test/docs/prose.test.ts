import { expect } from 'chai'
import {
  commentsOf,
  excesses,
  findings,
  passagesOf,
  statistics,
  titlesOf,
} from '../../scripts/prose-rules.ts'

describe('the prose checker', () => {
  const hole = ['$', '{code}'].join('')
  const check = (markdown: string) =>
    findings(passagesOf(markdown)).map(({ line, kind }) => [line, kind])

  it('finds pronouns without a subject, with their line', () => {
    expect(check('# A page\n\nThe client is closed.\n\nWhoever floods is closed.')).to.deep.equal([
      [5, 'pronoun'],
    ])
    expect(check('Sending waits for nobody.')).to.deep.equal([[1, 'vague']])
  })

  it('skips code, quotes, addresses and comments of Markdown', () => {
    const text = [
      '```js\nwho()\n```',
      'The option `who` and the error "who are you" are quoted.',
      '[A page](who.md)',
      '<!-- who -->',
    ]
    expect(check(text.join('\n\n'))).to.deep.equal([])
  })

  it('checks list items, cells and headings separately', () => {
    const cell = 'a connection whose client is gone'
    const text = `- one\n- those who\n\n| a | b |\n|---|---|\n| ${cell} | b |\n\n## What is going on?`
    expect(check(text)).to.deep.equal([
      [2, 'pronoun'],
      [2, 'vague'],
      [6, 'pronoun'],
      [8, 'heading'],
    ])
  })

  it('reports a sentence of more than 40 words, and accepts a long paragraph of short sentences', () => {
    const words = (count: number) => `${'word '.repeat(count - 1)}word`
    expect(check(`${words(41)}.`)).to.deep.equal([[1, 'length']])
    expect(check(`${words(40)}. And ${words(38)}.`)).to.deep.equal([])
  })

  it('counts the words, the median length and the share of negative sentences', () => {
    const { words, sentences, median, negative } = statistics(
      passagesOf('One two three. There is no fourth word here. Five.\n\n| a cell of five words |'),
    )
    expect([words, sentences, median]).to.deep.equal([15, 3, 3])
    expect(negative).to.be.closeTo(33.3, 0.1)
  })

  it('names each figure of an area above its limit, with the figure and the limit', () => {
    const goals = [
      { figure: 'words', most: 40_000, unit: 'words' },
      { figure: 'negative', most: 5, unit: '% of the sentences are negative' },
    ] as const
    const figures = { words: 40_000, sentences: 2_900, median: 10, negative: 5 }
    expect(excesses('docs', figures, goals)).to.deep.equal([])
    expect(excesses('docs', { ...figures, words: 40_001, negative: 5.25 }, goals)).to.deep.equal([
      'docs: 40001 words, and at most 40000 are allowed',
      'docs: 5.3 % of the sentences are negative, and at most 5 are allowed',
    ])
  })

  it('reads comments of TypeScript, joins neighboring lines, and skips strings', () => {
    const source = [
      "const url = 'https://who.example' // the first",
      `const other = \`// who ${hole}\``,
      'const pattern = /[/"]\\/\\/ who/',
      '// It goes on',
      '// here.',
      '/**',
      ' * Says a thing.',
      ' *',
      ' * @param url whose it is',
      ' * @example',
      ' * who()',
      ' */',
    ]
    const passages = commentsOf(source.join('\n'))
    expect(passages.map(({ line, text }) => [line, text])).to.deep.equal([
      [1, 'the first'],
      [4, 'It goes on here.'],
      [7, 'Says a thing.'],
      [9, 'whose it is'],
    ])
  })

  it('reads the titles of tests', () => {
    const source = `describe('a', () => {\n  it(\`closes ${hole}\`, () => {})\n  item('no title')\n})`
    expect(titlesOf(source).map(({ line, text }) => [line, text])).to.deep.equal([
      [1, 'a'],
      [2, 'closes value'],
    ])
  })
})
