import { expect } from 'chai'
import { Hold } from '../../lib/backplane/hold.ts'

describe('the queue after an outage', () => {
  function held(): { hold: Hold; released: () => number } {
    let released = 0
    const hold = new Hold(() => {
      released++
    })
    return { hold, released: () => released }
  }

  it('is published at once when there is no other instance', () => {
    const { hold, released } = held()
    hold.begin([])
    expect([hold.isHeld, released()]).to.deep.equal([false, 1])
  })

  it('is held until all other instances are heard', () => {
    const { hold, released } = held()
    expect(hold.isHeld).to.equal(false)
    hold.begin(['a', 'b'])
    expect(hold.heard('stranger')).to.equal(false)
    expect(hold.heard('a')).to.equal(true)
    expect(hold.heard('a')).to.equal(false)
    expect([hold.isHeld, released()]).to.deep.equal([true, 0])
    expect(hold.heard('b')).to.equal(true)
    expect([hold.isHeld, released()]).to.deep.equal([false, 1])
    hold.release()
    expect(released()).to.equal(1)
  })

  it('stays queued when the engine is unreachable again', () => {
    const { hold, released } = held()
    hold.begin(['a'])
    hold.stop()
    expect(hold.heard('a')).to.equal(false)
    expect([hold.isHeld, released()]).to.deep.equal([false, 0])
  })

  it('is released after a time limit when an instance stays silent', async () => {
    await new Promise<void>((resolve) => new Hold(resolve).begin(['silent']))
  })
})
