import { expect } from 'chai'
import { resolveHistory } from '../../lib/history/options.ts'
import koaWs, { type KoaWsOptions, memoryAdapter, OptionsError } from '../../lib/index.ts'

const create =
  (history: unknown, more: KoaWsOptions = {}) =>
  () =>
    koaWs({ ...more, history: history as never })

describe('the option history', () => {
  it('has defaults', () => {
    const { records, ...rest } = resolveHistory({ rooms: 'chat:*' })
    expect(rest).to.deep.equal({
      users: false,
      messages: 300,
      bytes: 1_048_576,
      ttl: 300_000,
      maxTotal: 268_435_456,
    })
    expect(['chat:1', 'chat:', 'chat', 'news'].map(records)).to.deep.equal([
      true,
      true,
      false,
      false,
    ])
  })

  it('takes names, prefixes and expressions', () => {
    const { records } = resolveHistory({ rooms: ['news', /^game:\d+$/] })
    expect(['news', 'news2', 'game:7', 'game:x'].map(records)).to.deep.equal([
      true,
      false,
      true,
      false,
    ])
    expect(resolveHistory({ users: true }).records('any')).to.equal(false)
  })

  const wrong: Record<string, unknown> = {
    'no rooms and users': {},
    'users that are off': { users: false },
    'a * in the middle': { rooms: 'a*b' },
    'an expression that matches inside of names': { rooms: /chat/ },
    'an unknown option': { rooms: 'a', size: 3 },
    'no messages': { rooms: 'a', messages: 0 },
    'a ttl in seconds': { rooms: 'a', ttl: 60 },
    'a room larger than all': { rooms: 'a', bytes: 2_000, maxTotal: 1_000 },
    true: true,
  }
  for (const [what, history] of Object.entries(wrong)) {
    it(`throws for ${what}`, () => {
      expect(create(history)).to.throw(OptionsError, /history/)
    })
  }

  it('throws for an adapter that cannot record', () => {
    const { history: _, ...adapter } = memoryAdapter()
    expect(create({ rooms: 'a' }, { adapter })).to.throw(OptionsError, /adapter that can record/)
  })

  it('throws for other limits in a second hub of one adapter', async () => {
    const adapter = memoryAdapter()
    const first = koaWs({ adapter, history: { rooms: 'a' } })
    expect(create({ rooms: 'a', messages: 5 }, { adapter })).to.throw(OptionsError, /same limits/)
    await first.close()
  })
})
