import { AsyncLocalStorage } from 'node:async_hooks'
import { expect } from 'chai'
import { flushAtEndOfTurn } from '../../lib/connection/turn.ts'
import { turn } from '../support/server.ts'

describe('the end of a turn', () => {
  it('flushes in the order of the calls, after the turn', async () => {
    const flushed: number[] = []
    for (const i of [1, 2, 3]) flushAtEndOfTurn({ flush: () => flushed.push(i) })
    await Promise.resolve()
    expect(flushed).to.deep.equal([])
    await turn()
    expect(flushed).to.deep.equal([1, 2, 3])
  })

  it('flushes the others when a flush throws', async () => {
    const flushed: string[] = []
    flushAtEndOfTurn({
      flush: () => {
        throw new Error('broken')
      },
    })
    flushAtEndOfTurn({ flush: () => flushed.push('other') })
    await turn()
    expect(flushed).to.deep.equal(['other'])
  })

  it('flushes in a later turn when the call comes during a flush', async () => {
    const flushed: string[] = []
    const inner = { flush: () => flushed.push('inner') }
    flushAtEndOfTurn({
      flush: () => {
        flushAtEndOfTurn(inner)
        flushed.push('outer')
      },
    })
    await turn()
    expect(flushed).to.deep.equal(['outer'])
    await turn()
    expect(flushed).to.deep.equal(['outer', 'inner'])
  })

  it('runs outside of the async contexts of the callers', async () => {
    const storage = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    storage.run('first', () =>
      flushAtEndOfTurn({ flush: () => seen.push(storage.getStore() ?? null) }),
    )
    await turn()
    expect(seen).to.deep.equal([null])
  })
})
