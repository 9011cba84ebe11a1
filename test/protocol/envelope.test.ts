import { expect } from 'chai'
import {
  byeText,
  errorText,
  incomingText,
  pushText,
  replyText,
  requestText,
  resyncText,
} from '../../lib/protocol/envelope.ts'

describe('a message of koaws.v1 that a server sends', () => {
  const error = { code: 'busy', message: 'Busy', status: 503, retryable: true }

  it('has the form of docs/protocol.md', () => {
    expect(
      [
        pushText('said', { text: '"hi"' }),
        pushText('tick', undefined),
        pushText('none', null),
        requestText('confirm', 7, [1]),
        requestText('confirm', 8, undefined),
        replyText(7, 'ok', 'say'),
        replyText(8, undefined, 'say'),
        errorText(error, 9, 'say'),
        errorText(error, undefined, 'say'),
        byeText(1012, 'restart', 60),
        byeText(1001, '', undefined),
        resyncText('lobby'),
        resyncText(undefined),
        incomingText(1_000),
      ].map((text) => JSON.parse(text)),
    ).to.deep.equal([
      { type: 'said', data: { text: '"hi"' } },
      { type: 'tick' },
      { type: 'none', data: null },
      { type: 'confirm', id: 7, data: [1] },
      { type: 'confirm', id: 8 },
      { type: 'koaws:reply', id: 7, data: 'ok' },
      { type: 'koaws:reply', id: 8, data: null },
      { type: 'koaws:error', id: 9, error },
      { type: 'koaws:error', about: 'say', error },
      { type: 'koaws:bye', data: { code: 1012, reason: 'restart', after: 60 } },
      { type: 'koaws:bye', data: { code: 1001, reason: '' } },
      { type: 'koaws:resync', data: { room: 'lobby' } },
      { type: 'koaws:resync', data: { room: null } },
      { type: 'koaws:incoming', data: { bytes: 1_000 } },
    ])
  })

  it('is not made for a wrong type, or for data without a JSON form', () => {
    for (const type of ['', 'koaws:x', 'x'.repeat(256), 'a\ud800']) {
      expect(() => pushText(type, 1), type).to.throw(TypeError)
      expect(() => requestText(type, 1, 1), type).to.throw(TypeError)
    }
    for (const data of [1n, new Map(), () => {}]) {
      expect(() => pushText('x', data)).to.throw(TypeError)
      expect(() => requestText('x', 1, data)).to.throw(TypeError)
      expect(() => replyText(1, data, 'x')).to.throw(TypeError)
    }
  })
})
