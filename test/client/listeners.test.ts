import { expect } from 'chai'
import { RequestError } from '../../lib/client/index.ts'
import { openClient, scriptedClient, settle } from './support/client.ts'

describe('on()', () => {
  it('calls the listener for each push of its type, in order, until it is removed', async () => {
    const { client, last } = await openClient()
    const heard: unknown[] = []
    const listener = (data: unknown): void => {
      heard.push(data)
    }
    const off = client.on('said', listener)
    client.on('said', listener)
    last.push('said', 1).push('other', 2).json({ type: 'said' })
    off()
    off()
    last.push('said', 3)
    expect(heard).to.deep.equal([1, 1, undefined, undefined, 3])
    client.close()
  })

  it('gives listeners the trace of the message', async () => {
    const { client, last } = await openClient()
    const heard: unknown[] = []
    client.on('said', (_data, { trace, tracestate }) => heard.push([trace, tracestate]))
    last.json({ type: 'said', data: 1, trace: '00-a-b-01', tracestate: 'vendor=1' })
    last.push('said', 2)
    expect(heard).to.deep.equal([
      ['00-a-b-01', 'vendor=1'],
      [undefined, undefined],
    ])
    client.close()
  })

  it('throws for an invalid type', async () => {
    const { client } = await openClient()
    expect(() => client.on('koaws:welcome', () => {})).to.throw(TypeError)
    expect(() => client.on('', () => {})).to.throw(TypeError)
    client.close()
  })

  it('lets a listener remove itself and add another during a call', async () => {
    const { client, last } = await openClient()
    const heard: string[] = []
    const off = client.on('said', () => {
      heard.push('first')
      off()
      client.on('said', () => heard.push('new'))
    })
    client.on('said', () => heard.push('second'))
    last.push('said')
    expect(heard).to.deep.equal(['first', 'second'])
    client.close()
  })

  it('delivers a push that precedes the welcome, and none from an earlier connection', async () => {
    const scripted = scriptedClient()
    const heard: unknown[] = []
    scripted.client.on('said', (data) => heard.push(data))
    await settle()
    const first = scripted.last.open()
    first.push('said', 'early')
    expect(scripted.client.state.status).to.equal('connecting')
    first.welcome()
    first.push('said', 'later')
    scripted.client.close()
    scripted.client.open()
    await settle()
    first.push('said', 'too late')
    expect(heard).to.deep.equal(['early', 'later'])
    scripted.client.close()
  })

  it('reports errors and rejections of a listener to onError, and calls the other listeners', async () => {
    const { client, last, errors } = await openClient()
    const heard: unknown[] = []
    client.on('said', () => {
      throw new Error('thrown')
    })
    client.on('said', () => Promise.reject(new Error('rejected')))
    client.on('said', (data) => heard.push(data))
    last.push('said', 1).push('said', 2)
    await settle()
    expect(heard).to.deep.equal([1, 2])
    expect(errors.map(String).sort()).to.deep.equal([
      'Error: rejected',
      'Error: rejected',
      'Error: thrown',
      'Error: thrown',
    ])
    client.close()
  })

  it('reports an error of a listener to reportError() when there is no onError', async () => {
    const reported: unknown[] = []
    Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) })
    try {
      const { client, last } = await openClient({ onError: undefined })
      client.on('said', () => {
        throw new Error('mine')
      })
      last.push('said')
      await settle()
      client.close()
    } finally {
      Reflect.deleteProperty(globalThis, 'reportError')
    }
    expect(reported.map(String)).to.deep.equal(['Error: mine'])
  })

  it('leaves an error of a listener uncaught when there is neither onError nor reportError()', async () => {
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    try {
      const uncaught = new Promise((resolve) => process.once('uncaughtException', resolve))
      const { client, last } = await openClient({ onError: undefined })
      client.on('said', () => {
        throw new Error('mine')
      })
      last.push('said')
      expect(String(await uncaught)).to.equal('Error: mine')
      client.close()
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })

  it('reports an error of onError to reportError()', async () => {
    const reported: unknown[] = []
    Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) })
    try {
      const { client, last } = await openClient({
        onError: () => {
          throw new Error('second')
        },
      })
      last.receive('no JSON')
      expect(client.push('typing')).to.equal('sent')
      client.close()
    } finally {
      Reflect.deleteProperty(globalThis, 'reportError')
    }
    expect(reported.map(String)).to.deep.equal(['Error: second'])
  })
})

describe('a request from the server', () => {
  const returned: [string, unknown, unknown][] = [
    ['a value', true, true],
    ['a promise', Promise.resolve({ a: 1 }), { a: 1 }],
    ['undefined', undefined, null],
    ['null', null, null],
  ]
  for (const [what, value, reply] of returned) {
    it(`is answered with the value that the listener returns: ${what}`, async () => {
      const { client, last } = await openClient()
      client.on('confirm', () => value)
      last.json({ type: 'confirm', id: 7, data: 'Sure?' })
      await settle()
      expect(last.sent).to.deep.equal([{ type: 'koaws:reply', id: 7, data: reply }])
      client.close()
    })
  }

  it('is answered by the first listener, and delivered to all', async () => {
    const { client, last, errors } = await openClient()
    client.on('confirm', () => 'first')
    client.on('confirm', () => Promise.reject(new Error('second')))
    last.json({ type: 'confirm', id: 7 })
    await settle()
    expect(last.sent).to.deep.equal([{ type: 'koaws:reply', id: 7, data: 'first' }])
    expect(errors.map(String)).to.deep.equal(['Error: second'])
    client.close()
  })

  it('without a listener is answered with ERR_KOAWS_UNKNOWN_TYPE', async () => {
    const { client, last } = await openClient()
    client.on('confirm', () => 1)()
    last.json({ type: 'confirm', id: 1 })
    await settle()
    expect(last.sent).to.deep.equal([
      {
        type: 'koaws:error',
        id: 1,
        error: {
          code: 'ERR_KOAWS_UNKNOWN_TYPE',
          message: 'No listener for confirm',
          status: 404,
          retryable: false,
        },
      },
    ])
    client.close()
  })

  it('is answered with the thrown error if that has a code and a status', async () => {
    const { client, last, errors } = await openClient()
    const like = { code: 'no', message: 'Not now', status: 409, retryable: true, data: [1] }
    const thrown = [
      new RequestError('Not now', like),
      Object.assign(new Error('Not now'), like),
      like,
    ]
    client.on('confirm', () => Promise.reject(thrown.shift()))
    for (const id of [1, 2, 3]) last.json({ type: 'confirm', id })
    await settle()
    expect(last.sent.map(({ error }) => error)).to.deep.equal([like, like, like])
    expect(errors).to.deep.equal([])
    client.close()
  })

  it('is answered with internal for any other thrown value, without its text', async () => {
    const { client, last, errors } = await openClient()
    const secret = new Error('secret')
    const thrown: unknown[] = [
      secret,
      'secret',
      undefined,
      Object.assign(new Error('secret'), { code: 'ENOENT' }),
      Object.assign(new Error('secret'), { code: 'x', status: 200 }),
    ]
    client.on('confirm', () => {
      throw thrown.shift()
    })
    for (const id of [1, 2, 3, 4, 5]) last.json({ type: 'confirm', id })
    await settle()
    expect(new Set(last.sent.map(({ error }) => error?.code))).to.deep.equal(new Set(['internal']))
    expect(JSON.stringify(last.sent)).to.not.include('secret')
    expect(errors).to.have.length(5).and.include(secret)
    client.close()
  })

  it('is answered with an error when the reply has no JSON form or is too large', async () => {
    const { client, last, errors } = await openClient({}, { maxMessage: 200 })
    const replies = [1n, () => {}, 'x'.repeat(200)]
    client.on('confirm', () => replies.shift())
    for (const id of [1, 2, 3]) last.json({ type: 'confirm', id })
    await settle()
    const inOrder = last.sent.toSorted((a, b) => a.id - b.id)
    expect(inOrder.map(({ error }) => error?.code)).to.deep.equal([
      'internal',
      'internal',
      'ERR_KOAWS_TOO_LARGE',
    ])
    expect(errors).to.have.length(2)
    client.close()
  })

  it('of a closed connection is not answered on the next connection', async () => {
    const scripted = await openClient()
    let give: (value: string) => void = () => {}
    scripted.client.on('confirm', () => new Promise((resolve) => (give = resolve)))
    scripted.last.json({ type: 'confirm', id: 1 }).end(1006)
    scripted.client.open()
    await settle()
    scripted.last.welcome()
    give('late')
    await settle()
    expect(scripted.sockets.flatMap(({ sent }) => sent)).to.deep.equal([])
    scripted.client.close()
  })
})

describe('koaws:error without an id', () => {
  it('is reported to onError with the type in about', async () => {
    const { client, last, errors } = await openClient()
    const error = { code: 'ERR_KOAWS_INVALID', message: 'text: Expected string', status: 400 }
    last.json({ type: 'koaws:error', about: 'say', error })
    last.json({ type: 'koaws:error', about: 7, error })
    expect(errors[0]).to.be.instanceOf(RequestError)
    expect(errors[0]).to.include({ ...error, type: 'say' })
    expect(errors[1]).to.include({ type: undefined })
    client.close()
  })
})
