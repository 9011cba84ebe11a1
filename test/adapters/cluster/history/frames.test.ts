import { expect } from 'chai'
import {
  decodeFrame,
  encodeFrame,
  FrameKind,
} from '../../../../lib/adapters/cluster/history/frames.ts'

const FRAME = {
  kind: FrameKind.end,
  from: 'aZ0_-',
  pid: 2 ** 22,
  number: 2 ** 40,
  got: 7,
  body: Buffer.from('x'),
}

describe('frames', () => {
  it('are read as they were written', () => {
    expect(decodeFrame(encodeFrame(FRAME))).to.deep.equal(FRAME)
    const empty = { ...FRAME, kind: FrameKind.acknowledgment, number: 0, body: Buffer.alloc(0) }
    expect(decodeFrame(encodeFrame(empty))).to.deep.equal(empty)
  })

  it('are null for bytes that are no frame', () => {
    const bytes = encodeFrame(FRAME)
    for (let length = 0; length < bytes.length - 1; length++) {
      expect(decodeFrame(bytes.subarray(0, length)), `of ${length} bytes`).to.equal(null)
    }
    for (const wrong of [
      { kind: 0 },
      { kind: 6 },
      { from: 'a b' },
      { from: '' },
      { number: -1 },
      { number: 0.5 },
      { got: Number.NaN },
    ]) {
      expect(decodeFrame(encodeFrame({ ...FRAME, ...wrong }))).to.equal(null)
    }
  })
})
