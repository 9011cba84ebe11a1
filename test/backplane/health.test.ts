import { expect } from 'chai'
import { LinkHealth } from '../../lib/backplane/health.ts'

describe('the health of the backplane', () => {
  let told: string[]
  let health: LinkHealth

  beforeEach(() => {
    told = []
    health = new LinkHealth(({ state, why }, isFailure) =>
      told.push(`${state}: ${why}${isFailure ? ' (failure)' : ''}`),
    )
  })

  it('is connecting until the link is up, with the reason of the last attempt', () => {
    expect(health.current.state).to.equal('connecting')
    health.failed('WRONGPASS')
    health.failed('WRONGPASS')
    health.failed('ECONNREFUSED')
    expect(health.current).to.include({ state: 'connecting', why: 'ECONNREFUSED' })
    health.turn('ready', 'up')
    health.failed('late')
    expect(told).to.deep.equal([
      'connecting: WRONGPASS (failure)',
      'connecting: ECONNREFUSED (failure)',
      'ready: up',
    ])
  })

  it('is degraded while the link is up and a command is refused', () => {
    health.turn('ready', 'up')
    health.fault('publish', 'NOPERM')
    health.fault('link', 'no channel')
    health.fault('publish', null)
    health.fault('link', null)
    expect(told).to.deep.equal([
      'ready: up',
      'degraded: NOPERM (failure)',
      'degraded: no channel',
      'ready: up',
    ])
  })

  it('drops refusals when the link goes down', () => {
    health.turn('ready', 'up')
    health.fault('publish', 'NOPERM')
    health.turn('degraded', 'cut')
    health.fault('publish', 'NOPERM')
    health.failed('ECONNREFUSED')
    health.turn('ready', 'up')
    expect(health.current).to.include({ state: 'ready', why: 'up' })
    expect(told.slice(2)).to.deep.equal([
      'degraded: cut',
      'degraded: ECONNREFUSED (failure)',
      'ready: up',
    ])
  })

  it('keeps the time of the state when only the reason changes', () => {
    const { since } = health.current
    health.failed('1')
    health.failed('2')
    expect(health.current.since).to.equal(since)
  })
})
