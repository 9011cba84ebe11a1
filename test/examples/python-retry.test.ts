import { expect } from 'chai'
import { MessageError, messages } from '../../lib/index.ts'
import { pythonClients } from '../protocol/support/python.ts'
import { eventually } from '../support/server.ts'
import { serveMessages } from '../support/talk.ts'

describe('requests with `retry` of examples/clients/koaws_client.py', () => {
  const clientOf = pythonClients()

  it('run once and are answered on the next connection, when the first one breaks', async () => {
    const runs: unknown[] = []
    const chat = messages().on('order', ({ connection, data }) => {
      runs.push(data)
      connection.terminate()
      if (data === 'milk') throw new MessageError(409, 'no milk', { code: 'sold_out' })
      return { number: runs.length }
    })
    const { port, hub } = await serveMessages(chat)
    const client = clientOf(`ws://127.0.0.1:${port}/chat`)
    await client.open()
    await client.do({ request: ['order', 'tea'], as: 'tea', retry: true })
    const { results } = client.heard
    await eventually(() => results.has('tea'))
    await client.do({ request: ['order', 'milk'], as: 'milk', retry: true })
    await eventually(() => results.has('milk'))
    expect(runs).to.deep.equal(['tea', 'milk'])
    expect(results.get('tea')).to.deep.equal({ value: { number: 1 } })
    expect(results.get('milk')).to.have.nested.property('error.code', 'sold_out')
    await client.end()
    expect(hub.status().drops).to.not.have.property('retryUnknown')
  })

  it('fail when the client stops', async () => {
    let isHandling = false
    const chat = messages().on('order', async () => {
      isHandling = true
      await new Promise(() => {})
    })
    const { port } = await serveMessages(chat)
    const client = clientOf(`ws://127.0.0.1:${port}/chat`)
    await client.open()
    await client.do({ request: ['order'], as: 'tea', retry: true })
    await eventually(() => isHandling)
    await client.do({ close: true })
    await eventually(() => client.heard.results.has('tea'))
    expect(client.heard.results.get('tea')).to.have.property('lost')
    await client.end()
  })
})
