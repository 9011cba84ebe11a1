import { mock } from 'node:test'
import { expect } from 'chai'
import { Session } from '../../lib/history/session.ts'

const admit = (): boolean => true

describe('Session', () => {
  it('calls what waits when the client has presented its positions, once', () => {
    const session = new Session(admit)
    const called: string[] = []
    session.whenPresented(() => called.push('a'))
    const takeBack = session.whenPresented(() => called.push('b'))
    takeBack() // a connection that has left the room meanwhile
    expect(session.isPresented).to.equal(false)
    expect(session.present({ positions: { 'chat:1': 'e.1.k' } }, 50)).to.equal(null)
    session.end()
    expect(called).to.deep.equal(['a'])
    expect(session.isPresented).to.equal(true)
  })

  it('gives a position once', () => {
    const session = new Session(admit)
    session.present({ positions: { 'chat:1': 'e.1.k', 'chat:2': 'none' } }, 50)
    expect(session.take('chat:1')).to.deep.equal({ epoch: 'e', offset: 1, key: 'k' })
    expect(session.take('chat:1')).to.equal(null)
    expect(session.take('chat:2')).to.include({ offset: 1 }) // no log has it
    expect(session.take('toString')).to.equal(null)
  })

  it('counts one recovery, when it is asked', () => {
    let asked = 0
    const session = new Session(() => {
      asked++
      return false
    })
    session.present({ positions: {} }, 20)
    expect(asked).to.equal(0)
    expect([session.isLimited, session.isLimited]).to.deep.equal([true, true])
    expect(asked).to.equal(1)
  })

  it('calls nothing when the connection ends first', () => {
    const session = new Session(admit)
    let called = 0
    session.whenPresented(() => called++)
    session.end()
    expect(session.present({}, 2)).to.be.a('string')
    expect(called).to.equal(0)
  })

  it('waits for 10 seconds from the first join, and for as long as nothing waits for it', () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    try {
      const early = new Session(admit)
      const late = new Session(admit)
      mock.timers.tick(11_000) // onConnect takes its time
      let called = 0
      early.whenPresented(() => called++)
      late.whenPresented(() => called++)
      mock.timers.tick(9_000)
      expect(early.present({ positions: { 'chat:1': 'e.1.k' } }, 50)).to.equal(null)
      expect(called).to.equal(1)
      mock.timers.tick(1_000)
      expect(called).to.equal(2)
      expect(early.take('chat:1')).to.include({ offset: 1 })
      expect(late.present({}, 2)).to.be.a('string')
    } finally {
      mock.timers.reset()
    }
  })
})
