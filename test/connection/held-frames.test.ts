import { expect } from 'chai'
import { Frame } from '../../lib/connection/frame.ts'
import { heldBytes, holdFrame, releaseFrames } from '../../lib/connection/held-frames.ts'

describe('held frames', () => {
  it('are kept in order, per outbox, with their size, until they are released', () => {
    const [one, other] = [{}, {}]
    const frames = ['first', 'second'].map((text) => Frame.encode(text, null))
    for (const frame of frames) holdFrame(one, frame)
    expect(heldBytes(one)).to.equal(frames.reduce((sum, { plain }) => sum + plain.length, 0))
    expect(heldBytes(other)).to.equal(0)
    expect(releaseFrames(other)).to.deep.equal([])
    expect(releaseFrames(one)).to.deep.equal(frames)
    expect(heldBytes(one)).to.equal(0)
    expect(releaseFrames(one)).to.deep.equal([])
  })
})
