import { expect } from 'chai'
import { Arguments, UsageError } from '../../lib/cli/arguments.ts'

const KINDS = { many: 'list', one: 'text', on: 'switch' } as const

describe('Arguments', () => {
  it('has the words by option', () => {
    const args = new Arguments(['a', '--many', '1', '--on', '--many=-2', '--one', 'x'], KINDS)
    expect(args.positionals).to.deep.equal(['a'])
    expect(args.list('many')).to.deep.equal(['1', '-2'])
    expect(args.text('one')).to.equal('x')
    expect([args.has('on'), args.has('off')]).to.deep.equal([true, false])
  })

  it('says what is wrong, without the values', () => {
    const bad = (words: string[]): string => {
      try {
        new Arguments(words, KINDS)
      } catch (error) {
        if (error instanceof UsageError) return error.message
        throw error
      }
      return 'nothing'
    }
    expect(bad(['--other=secret'])).to.match(/^there is no option --other\./)
    expect(bad(['--one', '--many', 'x'])).to.match(/^--one needs a value/)
    expect(bad(['--on=secret'])).to.match(/^--on needs no value/)
    expect(bad(['--one', 'secret', '--one', 'secret'])).to.equal(
      '--one was given 2 times; it takes one value.',
    )
    for (const words of [['--other=secret'], ['--on=secret'], ['-s', 'secret'], ['-secret']])
      expect(bad(words)).to.not.include('secret')
  })

  it('checks numbers and sizes', () => {
    const one = (value: string): Arguments => new Arguments([`--one=${value}`], KINDS)
    expect(one('2.5').number('one', 1, [0, 9])).to.equal(2.5)
    expect(new Arguments([], KINDS).number('one', 1, [0, 9])).to.equal(1)
    for (const value of ['', '-1', '10', '1e3', 'x', 'NaN', 'Infinity', '0x5'])
      expect(() => one(value).number('one', 1, [0, 9]), value).to.throw(UsageError)
    expect(() => one('2.5').whole('one', 1, [0, 9])).to.throw(UsageError, /whole number/)
    expect(one('64K').bytes('one', 1, [0, 100_000])).to.equal(65_536)
    expect(one('1m').bytes('one', 1, [0, 2_000_000])).to.equal(1_048_576)
    expect(one('7').bytes('one', 1, [0, 100])).to.equal(7)
    for (const value of ['1G', '1.5K', '-1', '1K'])
      expect(() => one(value).bytes('one', 1, [0, 1_000]), value).to.throw(UsageError)
  })
})
