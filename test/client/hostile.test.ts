import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { connect } from '../../lib/client/index.ts'
import { drive } from '../long/support/drive.ts'
import { HostileServer, LISTENED } from '../long/support/hostile-server.ts'
import { watchProcess } from '../long/support/watch.ts'
import { openClient, pass, scriptedClient, settle, useFakeClock } from './support/client.ts'

describe('a client of a hostile server', () => {
  useFakeClock()

  const messages: Record<string, unknown> = {
    'invalid JSON': '{"type":',
    'an empty message': '',
    'an array': '[{"type":"said"}]',
    null: 'null',
    'a number': '7',
    'a string': '"type"',
    'an object without a type': '{}',
    'a type that is a number': '{"type":7}',
    'an id that is a string': '{"type":"confirm","id":"1"}',
    'the id null': '{"type":"confirm","id":null}',
    'the id 0': '{"type":"confirm","id":0}',
    'a negative id': '{"type":"confirm","id":-1}',
    'a fractional id': '{"type":"confirm","id":1.5}',
    'an id beyond 2^53': '{"type":"confirm","id":9007199254740992}',
    'an infinite id': '{"type":"confirm","id":1e999}',
    'an ArrayBuffer': new ArrayBuffer(8),
    'a Blob': new Blob(['{"type":"said"}']),
    'unbounded nesting': '['.repeat(500_000),
    'a message above maxMessage': JSON.stringify({ type: 'said', data: 'x'.repeat(1_048_576) }),
  }
  for (const [what, message] of Object.entries(messages)) {
    it(`reports ${what} to onError as ERR_KOAWS_MALFORMED, and sends no answer`, async () => {
      const { client, last, errors } = await openClient()
      const heard: unknown[] = []
      client.on('said', (data) => heard.push(data))
      client.on('confirm', (data) => heard.push(data))
      last.receive(message)
      await settle()
      expect(errors).to.have.length(1)
      expect(errors[0]).to.include({ name: 'RequestError', code: 'ERR_KOAWS_MALFORMED' })
      expect([...heard, ...last.sent]).to.deep.equal([])
      last.push('said', 'still here')
      expect(heard).to.deep.equal(['still here'])
      client.close()
    })
  }

  for (const message of [
    '{"type":"koaws:resync","data":{}}',
    '{"type":"unknown"}',
    '{"type":"__proto__","data":{"polluted":1}}',
    '{"type":"constructor"}',
    '{"type":"koaws:reply","id":99,"data":1}',
    '{"type":"koaws:reply","data":1}',
    '{"type":"koaws:error","id":99,"error":{}}',
    '{"type":"koaws:error"}',
    '{"type":"koaws:item","id":99,"data":1}',
    '{"type":"koaws:item","data":1}',
    '{"type":"koaws:credit","id":99}',
    '{"type":"koaws:cancel","id":99,"data":{}}',
    '{"type":"koaws:bye"}',
    '{"type":"koaws:bye","data":7}',
    '{"type":"koaws:bye","data":[]}',
    '{"type":"koaws:bye","data":null}',
    '{"type":"koaws:authenticate"}',
  ]) {
    it(`ignores ${message}`, async () => {
      const { client, last, errors } = await openClient()
      const { state } = client
      last.receive(message)
      await settle()
      expect([...errors, ...last.sent]).to.deep.equal([])
      expect(client.state).to.equal(state)
      client.close()
    })
  }

  it('answers a request with a reserved or unknown type with ERR_KOAWS_UNKNOWN_TYPE', async () => {
    const { client, last } = await openClient()
    for (const type of ['koaws:ping', 'koaws:subscribe', '__proto__', 'toString']) {
      last.json({ type, id: 5 })
      await settle()
      expect(last.last).to.deep.include({ type: 'koaws:error', id: 5 })
      expect(last.last.error?.code).to.equal('ERR_KOAWS_UNKNOWN_TYPE')
    }
    client.close()
  })

  it('keeps prototypes unpolluted', async () => {
    const { client, last } = await openClient()
    client.on('said', () => {})
    const answer = client.request('say').catch((error) => error)
    last.receive('{"type":"said","__proto__":{"polluted":1},"data":{"__proto__":{"polluted":1}}}')
    last.receive('{"type":"koaws:bye","data":{"__proto__":{"polluted":1,"after":5}}}')
    last.receive('{"__proto__":{"type":"said"}}')
    last.receive(
      '{"type":"koaws:error","id":1,"error":{"code":"x","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    )
    const error = (await answer) as Record<string, unknown>
    expect(error).to.have.property('code', 'x')
    expect(error['polluted']).to.equal(undefined)
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined)
    client.close()
  })

  it('ignores a second welcome', async () => {
    const { client, last } = await openClient()
    const { state } = client
    last.push('koaws:welcome', { connection: 'c2', maxMessage: 1, heartbeat: 1 })
    expect(client.state).to.equal(state)
    expect(client.push('say', 'hello')).to.equal('sent')
    client.close()
  })

  for (const data of [
    undefined,
    null,
    7,
    'hi',
    [],
    { connection: 7, maxMessage: 'many', heartbeat: 'often', expiresAt: {}, refresh: 1 },
    { connection: {}, maxMessage: -1, heartbeat: -1, expiresAt: -1, refresh: true },
    { maxMessage: 0, heartbeat: 0, expiresAt: 0, refresh: true },
    { maxMessage: null, heartbeat: [], expiresAt: 'Infinity', refresh: true },
  ]) {
    it(`opens on a welcome with ${JSON.stringify(data)}, and starts no runaway timer`, async () => {
      const scripted = scriptedClient({ token: () => 'abc' })
      scripted.client.open()
      await settle()
      scripted.last.open().push('koaws:welcome', data)
      expect(scripted.client.state).to.deep.equal({ status: 'open' })
      expect(scripted.client.push('say', 'x'.repeat(1000))).to.equal('sent')
      await pass(2 ** 31)
      expect(scripted.last.sent).to.have.length(1)
      scripted.client.close()
    })
  }

  it('sends nothing, and throws only in push(), when maxMessage is 1', async () => {
    const { client, last, errors } = await openClient({}, { maxMessage: 1 })
    client.on('confirm', () => 1)
    last.json({ type: 'confirm', id: 1 }).json({ type: 'unknown', id: 2 })
    await settle()
    expect(() => client.push('typing')).to.throw(Error, 'more than 1 bytes')
    expect(errors).to.deep.equal([])
    client.close()
  })

  it('ignores messages and a close event after close()', async () => {
    const { client, last } = await openClient()
    const { onclose } = last
    client.close()
    last.push('said').end(1006)
    onclose?.({ code: 1006, reason: '' } as never)
    await pass(60_000)
    expect(client.state).to.deep.equal({ status: 'stopped', code: 1000 })
    expect(last.onmessage).to.equal(null)
  })
})

describe('clients of a hostile server over the network', () => {
  it('survive 10,000 messages of every kind', async () => {
    const watch = watchProcess()
    const http = createServer().listen(0, '127.0.0.1')
    await once(http, 'listening')
    const server = new HostileServer(http, 20_261_124, 10_000)
    let reloads = 0
    const loads: (() => Promise<string | undefined>)[] = [
      async () => 'e1.50.k',
      async () => undefined,
      () => Promise.reject(new Error('not loaded')),
      async () => 7 as never,
      () => new Promise(() => {}),
    ]
    try {
      const { port } = http.address() as AddressInfo
      const { violations, timers, timersLeft, requests, heard } = await drive({
        url: `ws://127.0.0.1:${port}/`,
        clients: 12,
        types: [...LISTENED, 'koaws:recovered'],
        goOn: () => !server.isDone,
        connect: connect as never,
        options: { WebSocket: WebSocket as never, reload: () => loads[reloads++ % 5]?.() },
      })
      expect(reloads).to.be.greaterThan(20)
      expect([...violations, ...server.bad]).to.deep.equal([])
      expect(requests.resolved + requests.rejected).to.equal(requests.asked)
      expect(requests.resolved).to.be.greaterThan(0)
      expect(heard).to.be.greaterThan(1_000)
      expect(timers).to.be.lessThan(12 * 8)
      expect(timersLeft).to.equal(0)
    } finally {
      server.end()
      http.close()
      watch.end()
    }
    expect(watch.violations).to.deep.equal([])
  })
})
