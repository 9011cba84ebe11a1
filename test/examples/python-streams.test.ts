import { once } from 'node:events'
import { expect } from 'chai'
import { messages } from '../../lib/index.ts'
import { pythonClients } from '../protocol/support/python.ts'
import { eventually } from '../support/server.ts'
import { serveMessages } from '../support/talk.ts'

describe('streams of examples/clients/koaws_client.py', () => {
  const clientOf = pythonClients()

  it('go on after a cut, and get each item once', async () => {
    const chat = messages().on(
      'count',
      async function* ({ connection }) {
        for (let i = 0; i < 6; i++) {
          if (i === 3) connection.terminate()
          yield `${i} ${'x'.repeat(20_000)}`
        }
        return 'done'
      },
      { resume: true },
    )
    const { port } = await serveMessages(chat)
    const client = clientOf(`ws://127.0.0.1:${port}/chat`)
    const { results } = client.heard
    await client.open()
    await client.do({ stream: ['count'], as: 's', resume: true })
    for (let i = 0; i < 6; i++) {
      await client.do({ take: 's', as: `item ${i}` })
      await eventually(() => results.has(`item ${i}`))
      expect(results.get(`item ${i}`)).to.deep.equal({ value: `${i} ${'x'.repeat(20_000)}` })
    }
    await client.do({ take: 's', as: 'end' })
    await eventually(() => results.has('end'))
    expect(results.get('end')).to.deep.equal({ ended: true })
    expect(results.get('s')).to.deep.equal({ value: 'done' })
    await client.end()
  })

  it('are canceled at the server when the application leaves the loop', async () => {
    let isCanceled = false
    const chat = messages().on('wait', async function* ({ signal }) {
      yield 1
      await once(signal, 'abort')
      isCanceled = true
    })
    const { port } = await serveMessages(chat)
    const client = clientOf(`ws://127.0.0.1:${port}/chat`)
    await client.open()
    await client.do({ stream: ['wait'], as: 's' })
    await client.do({ take: 's', as: 'item' })
    await eventually(() => client.heard.results.has('item'))
    await client.do({ leave: 's' })
    await eventually(() => isCanceled)
    await client.end()
  })

  it('send uploads of many windows', async () => {
    const chat = messages().on('join', async ({ upload }) => {
      let length = 0
      for await (const text of upload) length += String(text).length
      return length
    })
    const { port } = await serveMessages(chat)
    const client = clientOf(`ws://127.0.0.1:${port}/chat`)
    await client.open()
    const items = Array.from({ length: 20 }, () => 'x'.repeat(30_000))
    await client.do({ upload: ['join'], items, as: 'u' })
    await eventually(() => client.heard.results.has('u'))
    expect(client.heard.results.get('u')).to.deep.equal({ value: 600_000 })
    await client.end()
  })
})
