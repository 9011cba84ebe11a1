import { expect } from 'chai'
import {
  publishedOf,
  type ReadReply,
  readingOf,
  readReplyOf,
} from '../../../../lib/adapters/redis/history/replies.ts'
import { AdapterError } from '../../../../lib/errors.ts'
import { REMEMBERED } from '../../../../lib/history/store.ts'

describe('an answer of the history scripts', () => {
  const text = (value: string): Buffer => Buffer.from(value)
  const kept = text('3 2 100 1700000000000 key1 key0\nline\nline')

  it('has the top, the time, and entries of any bytes', () => {
    for (const wrap of [text, String]) {
      expect(readReplyOf([wrap('ok'), wrap('e1'), 3, wrap('key1'), 17, [kept]])).to.deep.equal({
        exists: true,
        top: { epoch: 'e1', offset: 3, key: 'key1' },
        missing: null,
        now: 17,
        entries: [
          {
            key: 'key1',
            count: 2,
            payload: text('line\nline'),
            offset: 3,
            previous: 'key0',
            time: 1_700_000_000_000,
          },
        ],
      })
    }
    expect(readReplyOf(['none', '000000001', 0, '', 17, []])).to.include({ exists: false })
    expect(readReplyOf(['ahead', 'e', 1, 'k', 17, []])).to.include({ missing: 'ahead' })
  })

  it('is an error when other software has written it', () => {
    for (const reply of [
      null,
      [],
      'ok',
      ['ok', 'e', 1, 'k', 17],
      ['other', 'e', 1, 'k', 17, []],
      ['ok', 'e', 'x', 'k', 17, []],
      ['ok', 'e', 1, 'k', 17, ['text']],
      ['ok', 'e', 1, 'k', 17, [text('no header')]],
      ['ok', 'e', 1, 'k', 17, [text('3 2 100 17 key\n')]],
    ]) {
      expect(() => readReplyOf(reply), JSON.stringify(reply)).to.throw(AdapterError, /cannot read/)
    }
    for (const data of [
      '',
      'x',
      'e 1 1 1 1 k',
      'e 1 1 1 1 k\n',
      'e 1 1 k p\n',
      '. 1 1 1 1 k p\n',
      `${'e'.repeat(33)} 1 1 1 1 k p\n`,
    ]) {
      expect(publishedOf(text(data)), data).to.equal(null)
    }
    expect(publishedOf(text('e 1 1 7 17 k \npayload'))).to.deep.equal({
      epoch: 'e',
      entry: { key: 'k', count: 1, payload: text('payload'), offset: 1, previous: '' },
    })
  })

  describe('about a place of a log that did not exist', () => {
    const now = 1_800_000_000_000
    const reply: ReadReply = {
      exists: false,
      top: { epoch: 'top', offset: 0, key: '' },
      missing: null,
      now,
      entries: [],
    }
    const at = (time: number) => ({
      epoch: time.toString(36).padStart(9, '0'),
      offset: 0,
      key: '',
    })
    const fits = (time: number, judgedFrom = 0): boolean =>
      'entries' in readingOf(reply, at(time), 1_000, judgedFrom)

    it('fits for a day', () => {
      expect(fits(now)).to.equal(true)
      expect(fits(now - REMEMBERED + 1)).to.equal(true)
      expect(fits(now - REMEMBERED)).to.equal(false)
      expect(fits(now + 1)).to.equal(false)
    })

    it('does not fit from before the data were lost', () => {
      expect(fits(now - 100, now - 100)).to.equal(true)
      expect(fits(now - 101, now - 100)).to.equal(false)
    })

    it('does not fit if it is a place of a log that existed', () => {
      const reading = readingOf(reply, { epoch: 'e1', offset: 0, key: '' }, 1_000, 0)
      expect(reading).to.deep.equal({ top: reply.top, missing: 'epoch' })
    })
  })

  it('gives all that are kept only as far as they are young enough', () => {
    const entry = { key: 'k', count: 1, payload: text(''), previous: '' }
    const entries = [1, 2, 3].map((offset) => ({ ...entry, offset, time: 1_000 * offset }))
    const top = { epoch: 'e', offset: 3, key: 'k' }
    const reading = readingOf(
      { exists: true, top, missing: null, now: 5_000, entries },
      null,
      3_000,
      0,
    )
    expect(reading).to.deep.equal({ top, entries: entries.slice(2) })
  })
})
