import { expect } from 'chai'
import { OptionsError } from '../../../lib/errors.ts'
import { presenceCheck, resolvePresence } from '../../../lib/hub/presence/options.ts'

describe('the option presence', () => {
  const info = (): null => null

  it('shows the rooms of a name, of a prefix and of a RegExp', () => {
    const { shows } = resolvePresence({ rooms: ['lobby', 'chat:*', /^team-\d+$/g], info })
    const shown = ['lobby', 'chat:', 'chat:x', 'team-7', 'team-7'].map(shows)
    expect(shown).to.deep.equal([true, true, true, true, true])
    const hidden = ['lobby2', 'chat', 'my chat:x', 'team-x', ''].map(shows)
    expect(hidden).to.deep.equal([false, false, false, false, false])
    expect(resolvePresence({ rooms: 'a*', info }).shows('ab')).to.equal(true)
    expect(resolvePresence({ onOnline: info }).shows('lobby')).to.equal(false)
  })

  it('has defaults', () => {
    expect(resolvePresence({ info })).to.include({ linger: 15_000, maxMembers: 1_000 })
  })

  it('is refused with a pattern that would match inside of longer names', () => {
    for (const rooms of ['', 'a*b', /team/, /^team/, ['ok', 7]]) {
      expect(() => {
        const problem = presenceCheck({ rooms, info })
        if (problem !== null) throw new OptionsError(problem)
      }, String(rooms)).to.throw(OptionsError)
    }
  })

  it('is refused when it does nothing, and when rooms have no info', () => {
    expect(presenceCheck({})).to.be.a('string')
    expect(presenceCheck({ linger: 5_000 })).to.be.a('string')
    expect(presenceCheck({ rooms: 'x' })).to.include('info')
    for (const valid of [{ rooms: 'x', info }, { onOnline: info }, { onOffline: info }, { info }]) {
      expect(presenceCheck(valid)).to.equal(null)
    }
  })
})
