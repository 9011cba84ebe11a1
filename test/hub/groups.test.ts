import { expect } from 'chai'
import { Groups } from '../../lib/hub/groups.ts'

describe('groups', () => {
  it('exist from their first member to their last, and tell the watcher of both', () => {
    const told: string[] = []
    const held = Promise.resolve()
    const groups = new Groups<number>({
      appeared(name) {
        told.push(`+${name}`)
        return held
      },
      vanished: (name) => void told.push(`-${name}`),
    })
    expect(groups.add('a', 1)).to.equal(held)
    expect(groups.add('a', 2)).to.equal(held)
    expect(groups.add('a', 2)).to.equal(held)
    groups.add('b', 1)
    expect(groups.size).to.equal(2)
    expect([...(groups.get('a') ?? [])]).to.deep.equal([1, 2])
    groups.delete('a', 3)
    groups.delete('unknown', 1)
    groups.delete('a', 1)
    expect(told).to.deep.equal(['+a', '+b'])
    groups.delete('a', 2)
    groups.delete('a', 2)
    expect(told).to.deep.equal(['+a', '+b', '-a'])
    expect(groups.get('a')).to.equal(undefined)
    expect(groups.size).to.equal(1)
  })

  it('return the promise of the watcher while it is pending, to each member', async () => {
    const settle: (() => void)[] = []
    const groups = new Groups<number>({
      appeared: () => new Promise((resolve) => settle.push(resolve)),
      vanished() {},
    })
    const first = groups.add('a', 1)
    expect(groups.add('a', 2)).to.equal(first)
    groups.delete('a', 1)
    groups.delete('a', 2)
    const second = groups.add('a', 3)
    expect(second).to.not.equal(first)
    settle[0]?.()
    await first
    expect(groups.add('a', 4)).to.equal(second)
    expect(groups.appearing('a')).to.equal(second)
    settle[1]?.()
    await second
    expect(groups.add('a', 5)).to.equal(undefined)
    expect(groups.appearing('a')).to.equal(undefined)
  })
})
