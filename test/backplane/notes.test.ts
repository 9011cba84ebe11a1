import { expect } from 'chai'
import { Garbage } from '../../lib/backplane/bytes.ts'
import { type BackplaneNote, noteOf, readNote } from '../../lib/backplane/notes.ts'

const textOf = (note: BackplaneNote): string => {
  const message = noteOf(note)
  return message.kind === 'note' ? message.text : expect.fail(message.kind)
}

describe('a note between backplanes', () => {
  const notes: BackplaneNote[] = [
    {
      type: 'heard',
      after: '',
      until: 'm',
      peers: [{ id: 'a', number: 3, silent: 250 }],
      left: [],
    },
    { type: 'heard', after: '', until: '', peers: [], left: [{ id: 'a', number: 3, silent: 250 }] },
    { type: 'ask', number: 1, topics: ['room:a', 'user:b'], last: true },
    { type: 'ask', number: 2, topics: [], last: false },
    { type: 'told', number: 2, forgotten: 60_000 },
    { type: 'told', number: 3, forgotten: undefined },
  ]

  for (const note of notes) {
    it(`is read as it was written: ${JSON.stringify(note)}`, () => {
      expect(readNote(textOf(note))).to.deep.equal(note)
    })
  }

  it('of heard peers may come from a version that does not name departed ones', () => {
    const text = '{"backplane":{"type":"heard","after":"","until":"","peers":[["a",3,250]]}}'
    const peers = [{ id: 'a', number: 3, silent: 250 }]
    const note = { type: 'heard', after: '', until: '', peers, left: [] }
    expect(readNote(text)).to.deep.equal(note)
    expect(textOf(note as BackplaneNote)).to.equal(text)
  })

  it('is ignored when its type is unknown, or when it is for another part', () => {
    expect(readNote('{"backplane":{"type":"later"}}')).to.equal(null)
    expect(readNote('{"users":{}}')).to.equal(null)
    expect(readNote('')).to.equal(null)
  })

  for (const text of [
    '{"backplane":',
    '{"backplane":null}',
    '{"backplane":{"type":"heard","after":"","until":"","peers":[["a",1]]}}',
    '{"backplane":{"type":"heard","after":"","until":"","peers":{}}}',
    '{"backplane":{"type":"heard","after":"","until":"","peers":[],"left":[["a",1]]}}',
    '{"backplane":{"type":"heard","after":7,"until":"","peers":[]}}',
    '{"backplane":{"type":"ask","number":-1,"topics":[],"last":true}}',
    '{"backplane":{"type":"ask","number":1,"topics":[7],"last":true}}',
    '{"backplane":{"type":"told","number":1,"forgotten":"x"}}',
  ]) {
    it(`counts as garbage: ${text}`, () => {
      expect(() => readNote(text)).to.throw(Garbage)
    })
  }
})
