import { expect } from 'chai'
import { pushText } from '../../lib/protocol/envelope.ts'
import {
  atText,
  leftText,
  placedText,
  positionText,
  readResume,
  recoveredText,
  unrecoveredText,
} from '../../lib/protocol/history.ts'

const AT = 'mbx3k2p1aQx3.41.k3F9aaQ1'

describe('a message about room history', () => {
  it('has the form of docs/protocol.md', () => {
    expect(
      [
        positionText('chat:1', AT),
        recoveredText('chat:1', 3, AT),
        unrecoveredText('', 'trimmed', AT),
        atText('a"b', AT),
        leftText('chat:1'),
      ].map((text) => JSON.parse(text)),
    ).to.deep.equal([
      { type: 'koaws:position', data: { room: 'chat:1', position: AT } },
      {
        type: 'koaws:recovered',
        data: { room: 'chat:1', recovered: true, missed: 3, position: AT },
      },
      {
        type: 'koaws:recovered',
        data: { room: '', recovered: false, missed: null, reason: 'trimmed', position: AT },
      },
      { type: 'koaws:at', data: { room: 'a"b', position: AT } },
      { type: 'koaws:left', data: { room: 'chat:1' } },
    ])
  })

  it('is a push with its place, before its type', () => {
    const text = pushText('said', { text: 'hi' })
    expect(placedText(text, 'a"b', AT)).to.equal(
      `{"room":"a\\"b","position":"${AT}","type":"said","data":{"text":"hi"}}`,
    )
    expect(JSON.parse(placedText(pushText('tick', undefined), '', AT, 'x1'))).to.deep.equal({
      room: '',
      position: AT,
      once: 'x1',
      type: 'tick',
    })
  })
})

describe('the data of koaws:resume', () => {
  it('are read, with empty fields for absent ones', () => {
    const positions = { 'chat:1': AT, '': AT, constructor: AT }
    expect(readResume({ previous: ['r3Fq'], positions, later: 1 })).to.deep.equal({
      previous: ['r3Fq'],
      positions: new Map(Object.entries(positions)),
    })
    for (const data of [undefined, {}]) {
      expect(readResume(data)).to.deep.equal({ previous: [], positions: new Map() })
    }
  })

  it('are read up to their bounds', () => {
    const previous = (count: number, length = 4) =>
      Array.from({ length: count }, () => 'x'.repeat(length))
    const positions = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`room ${i}`, AT]))
    expect(
      readResume({ previous: previous(8, 255), positions: positions(128) })?.positions.size,
    ).to.equal(128)
    expect(readResume({ previous: previous(9) })).to.equal(null)
    expect(readResume({ previous: previous(1, 256) })).to.equal(null)
    expect(readResume({ positions: positions(129) })).to.equal(null)
  })

  it('are null for wrong types', () => {
    const wrong = [
      null,
      7,
      'x',
      { previous: 'x' },
      { previous: null },
      { previous: [7] },
      { positions: null },
      { positions: [AT] },
      { positions: 'x' },
      { positions: { a: 7 } },
      { positions: { a: null } },
    ]
    for (const data of wrong) expect(readResume(data), JSON.stringify(data)).to.equal(null)
  })
})
