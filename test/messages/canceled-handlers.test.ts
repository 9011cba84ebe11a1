import { expect } from 'chai'
import { messages } from '../../lib/index.ts'
import { cleanUp, deferred, turn } from '../support/server.ts'
import { hear, serveMessages, talk } from '../support/talk.ts'

describe('a handler without a generator, of a request that the client cancels', () => {
  afterEach(cleanUp)

  it('may return a value, which is dropped without an error', async () => {
    const begun = deferred()
    const { promise, resolve } = deferred()
    const chat = messages()
      .on('take', async () => {
        begun.resolve()
        await promise
        return 'too late'
      })
      .on('echo', ({ data }) => data)
    const site = await serveMessages(chat)
    const socket = await talk(site.port)
    socket.json({ type: 'take', id: 1, upload: true })
    await begun.promise
    socket.json({ type: 'koaws:cancel', id: 1 })
    socket.json({ type: 'echo', id: 2, data: 'hi' })
    expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 2, data: 'hi' })
    resolve()
    await turn()
    socket.json({ type: 'echo', id: 3 })
    expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 3, data: null })
    expect(site.errors).to.deep.equal([])
  })
})
