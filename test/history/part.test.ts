import { expect } from 'chai'
import { Frame } from '../../lib/connection/frame.ts'
import { Part } from '../../lib/history/part.ts'
import { positionOf } from '../../lib/history/place.ts'
import { placedText } from '../../lib/protocol/history.ts'

/** A text of a push with so many bytes. */
const pushOf = (bytes: number): string => `{"type":"said","data":"${'x'.repeat(bytes - 25)}"}`

describe('a part of a replay', () => {
  it('has the frames that each message with its place would have alone', () => {
    const part = new Part()
    const expected: Buffer[] = []
    const sizes = [25, 40, 57, 58, 59, 125, 126, 127, 65_400, 65_535, 65_536, 70_000]
    for (const [i, size] of sizes.entries()) {
      for (const room of ['chat:1', 'chat:"é✓', '']) {
        const place = { epoch: `mbx3k2p1${i % 2}`, offset: 10 ** i, key: i === 3 ? '' : 'k3F9aaQ1' }
        const text = pushOf(size)
        part.add(room, place, Frame.encode(text, null).plain)
        expected.push(Frame.encode(placedText(text, room, positionOf(place)), null).plain)
      }
    }
    const all = Buffer.concat(expected)
    expect(part.size).to.equal(all.length)
    expect(part.take().equals(all)).to.equal(true)
  })

  it('begins anew when it was taken', () => {
    const part = new Part()
    const place = { epoch: 'mbx3k2p1a', offset: 1, key: 'k3F9aaQ1' }
    part.add('chat:1', place, Frame.encode(pushOf(40), null).plain)
    const first = part.take()
    const before = Buffer.from(first)
    expect(part.size).to.equal(0)
    part.add('chat:1', { ...place, offset: 2 }, Frame.encode(pushOf(40), null).plain)
    expect(first.equals(before)).to.equal(true)
    expect(String(part.take())).to.include('mbx3k2p1a.2.k3F9aaQ1')
  })
})
