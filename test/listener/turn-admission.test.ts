import { expect } from 'chai'
import { Admission } from '../../lib/listener/turn-admission.ts'
import { eventually, turn } from '../support/server.ts'

describe('the upgrades of one turn', () => {
  it('begin at once, up to 32; the others begin in later turns, in order', async () => {
    const admission = new Admission()
    const begun: number[] = []
    const session = {}
    for (let i = 0; i < 100; i++) admission.enter(session, () => begun.push(i))
    expect(begun).to.have.length(32)
    let before = begun.length
    while (begun.length < 100) {
      await turn()
      expect(begun.length - before).to.be.at.most(32)
      before = begun.length
    }
    expect(begun).to.deep.equal(Array.from({ length: 100 }, (_, i) => i))
  })

  it('begin by turns for several sessions', async () => {
    const admission = new Admission()
    const begun: string[] = []
    const [large, small] = [{}, {}]
    for (let i = 0; i < 200; i++) admission.enter(large, () => begun.push('large'))
    admission.enter(small, () => begun.push('small'))
    await eventually(() => begun.length === 201, 'all')
    expect(begun.indexOf('small')).to.be.below(40)
  })

  it('begin at once again in a later turn', async () => {
    const admission = new Admission()
    let begun = 0
    for (let i = 0; i < 32; i++) admission.enter({}, () => begun++)
    await turn()
    await turn()
    admission.enter({}, () => begun++)
    expect(begun).to.equal(33)
  })
})
