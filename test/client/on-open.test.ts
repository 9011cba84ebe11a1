import { expect } from 'chai'
import type { OpenConnection } from '../../lib/client/index.ts'
import {
  openClient,
  pass,
  rejection,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'

type Connection = OpenConnection<Record<string, object>>

describe('client.onOpen()', () => {
  useFakeClock()

  async function welcomed(options: object = {}) {
    const scripted = scriptedClient(options)
    const { client, sockets, errors } = scripted
    return {
      client,
      sockets,
      errors,
      async welcome() {
        await settle()
        scripted.last.welcome()
      },
      types: () => scripted.last.sent.map(({ type }) => type),
      last: () => scripted.last,
      async answer(data: unknown = null) {
        scripted.last.json({ type: 'koaws:reply', id: scripted.last.last.id, data })
        await settle()
      },
    }
  }

  it('connects, and sends requests of its function before queued messages', async () => {
    const { client, welcome, types, answer, last } = await welcomed()
    const joined: unknown[] = []
    client.onOpen(async ({ request }) => joined.push(await request('join', 'lobby')))
    expect(client.push('say', 1)).to.equal('queued')
    const asked = client.request('ask')
    await welcome()
    expect(types()).to.deep.equal(['join'])
    expect(client.state.status).to.equal('connecting')
    expect(client.push('say', 2)).to.equal('queued')
    await answer('ok')
    expect(joined).to.deep.equal(['ok'])
    expect(types()).to.deep.equal(['join', 'say', 'ask', 'say'])
    expect(client.state).to.deep.equal({ status: 'open', connection: 'c1' })
    expect(client.push('say', 3)).to.equal('sent')
    last().json({ type: 'koaws:reply', id: last().sent[2]?.id, data: 7 })
    expect(await asked).to.equal(7)
    client.close()
  })

  it('calls its function after each reconnect, before messages queued during the outage are sent', async () => {
    const { client, welcome, types, answer, last, sockets } = await welcomed()
    client.onOpen(({ request }) => request('join', 'lobby'))
    await welcome()
    await answer()
    last().end(1012, 'restart, retry in 600 ms')
    client.push('say', 'while you were away')
    await pass(600)
    await welcome()
    expect(sockets).to.have.length(2)
    expect(types()).to.deep.equal(['join'])
    await answer()
    expect(types()).to.deep.equal(['join', 'say'])
    client.close()
  })

  it('calls all registered functions in order, and waits for all of them', async () => {
    const { client, welcome, types, last } = await welcomed()
    client.onOpen(({ request }) => request('a'))
    client.onOpen(({ push }) => push('b'))
    client.onOpen(({ push }) => push('no'))()
    client.onOpen(({ request }) => request('c'))
    client.push('say')
    await welcome()
    expect(types()).to.deep.equal(['a', 'b', 'c'])
    last().json({ type: 'koaws:reply', id: last().sent[2]?.id, data: null })
    await settle()
    expect(client.state.status).to.equal('connecting')
    last().json({ type: 'koaws:reply', id: last().sent[0]?.id, data: null })
    await settle()
    expect(types()).to.deep.equal(['a', 'b', 'c', 'say'])
    client.close()
  })

  for (const [how, fn] of [
    ['rejects', async () => Promise.reject(new Error('mine'))],
    [
      'throws',
      () => {
        throw new Error('mine')
      },
    ],
  ] as const) {
    it(`reports to onError, backs off and keeps the queue when its function ${how}`, async () => {
      const { client, welcome, types, errors } = await welcomed()
      const off = client.onOpen(fn)
      client.push('say')
      await welcome()
      await settle()
      expect(errors.map(String)).to.deep.equal(['Error: mine'])
      expect(client.state).to.deep.include({
        status: 'waiting',
        code: 1006,
        reason: 'onOpen failed',
      })
      off()
      await pass(500)
      await welcome()
      expect(types()).to.deep.equal(['say'])
      client.close()
    })
  }

  it('gives up the connection when its function has not settled within 15 s', async () => {
    const { client, welcome } = await welcomed()
    client.onOpen(() => new Promise(() => {}))
    await welcome()
    await pass(14_999)
    expect(client.state.status).to.equal('connecting')
    await pass(1)
    expect(client.state).to.deep.include({
      status: 'waiting',
      reason: 'no end of onOpen within 15 s',
    })
    client.close()
  })

  it('calls its function again when the connection ends during the first call, and reports no error', async () => {
    const { client, welcome, types, answer, last, errors } = await welcomed()
    const failures: unknown[] = []
    client.onOpen(async ({ request }) => {
      failures.push(await rejection(request('join')).catch(() => 'joined'))
    })
    client.push('say')
    await welcome()
    last().end(1006)
    await settle()
    expect(failures).to.have.length(1)
    expect(failures[0]).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    expect(client.state.status).to.equal('waiting')
    await pass(500)
    await welcome()
    await answer()
    expect(types()).to.deep.equal(['join', 'say'])
    expect(errors).to.deep.equal([])
    client.close()
  })

  it('passes a connection that sends nothing after its end', async () => {
    const { client, welcome, answer, last } = await welcomed()
    let kept: Connection | undefined
    client.onOpen((connection) => {
      kept = connection as Connection
    })
    await welcome()
    await settle()
    expect(kept?.push('still')).to.equal('sent')
    last().end(1006)
    expect(kept?.push('late')).to.equal('dropped')
    expect(await rejection(kept?.request('late') as Promise<unknown>)).to.include({
      code: 'ERR_KOAWS_CLOSED',
      sent: false,
    })
    client.close()
    await answer()
  })

  it('may close the client, which then sends nothing and stays stopped', async () => {
    const { client, welcome, types } = await welcomed()
    client.onOpen(() => client.close(4000))
    client.push('say')
    await welcome()
    await pass(60_000)
    expect(types()).to.deep.equal([])
    expect(client.state).to.deep.equal({ status: 'stopped', code: 4000 })
  })

  it('leaves a connection that is open already unchanged', async () => {
    const { client, last } = await openClient()
    client.onOpen(({ push }) => push('join'))
    await settle()
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('does not run on an invalid message or a second welcome', async () => {
    const { client, last } = await openClient()
    let calls = 0
    client.onOpen(() => calls++)
    last.json({ type: '', data: 1 }).push('koaws:welcome', {})
    await settle()
    expect(calls).to.equal(0)
    client.close()
  })

  it('gives up the connection when its function awaits a queued request of the client itself', async () => {
    const { client, welcome, errors } = await welcomed({ timeout: 1000 })
    client.onOpen(() => client.request('join'))
    await welcome()
    await pass(1000)
    expect(client.state).to.deep.include({ status: 'waiting', reason: 'onOpen failed' })
    expect(errors[0]).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: false })
    client.close()
  })
})
