import { expect } from 'chai'
import { isErrorStatus, localError, RequestError, remoteError } from '../../lib/client/errors.ts'

describe('an error from the server', () => {
  it('keeps its fields', () => {
    const body = { code: 'busy', message: 'Busy', status: 503, retryable: true, data: [1] }
    const error = remoteError(body, 'say')
    expect(error).to.be.instanceOf(RequestError)
    expect(error).to.deep.include({ ...body, type: 'say', sent: true, name: 'RequestError' })
  })

  it('gets defaults for missing or invalid fields', () => {
    for (const body of [null, undefined, 'text', 7, [], { code: 7, message: {}, status: 200 }]) {
      const error = remoteError(body, 7)
      expect(error, JSON.stringify(body)).to.include({
        code: 'internal',
        message: 'internal',
        status: 500,
        retryable: false,
        type: undefined,
      })
    }
  })
})

describe('an error of the client', () => {
  it('says whether the message was sent', () => {
    const sent = localError({ type: 'say', sent: true }, 'TIMEOUT', 'no answer', 408)
    expect(sent).to.include({ code: 'ERR_KOAWS_TIMEOUT', status: 408, sent: true, type: 'say' })
    const queued = localError({ type: 'say', sent: false }, 'QUEUE_FULL', 'full')
    expect(queued).to.include({ status: 503, sent: false, retryable: true })
    expect(sent.message).not.to.equal(queued.message)
  })
})

describe('isErrorStatus()', () => {
  it('is true from 400 to 599', () => {
    const all = [399, 400, 599, 600, 400.5, '400', null, undefined].filter(isErrorStatus)
    expect(all).to.deep.equal([400, 599])
  })
})
