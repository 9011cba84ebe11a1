import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { WebSocket, WebSocketServer } from 'ws'
import { connect as connectFromSource } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { eventually } from '../support/server.ts'
import { openClient, rejection, settle } from './support/client.ts'

const dist = fileURLToPath(new URL('../../dist/', import.meta.url))

/** Each build of the client, with its part for streams. */
const BUILDS = [
  ['dist/client/index.js', 'client/index.js', 'client/streams.js'],
  ['dist/koaws-client.js', 'koaws-client.js', 'koaws-client-streams.js'],
] as const

describe('the part for streams', () => {
  let server: WebSocketServer
  /** The messages of clients. */
  const received: Record<string, unknown>[] = []

  before(async () => {
    server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: () => 'koaws.v1',
    })
    server.on('connection', (socket) => {
      const send = (message: object): void => socket.send(JSON.stringify(message))
      socket.on('message', (data) => {
        const message = JSON.parse(String(data))
        const { type, id } = message
        received.push(message)
        if (type === 'koaws:resume') {
          send({ type: 'koaws:welcome', data: { version: 1, retry: 120_000 } })
        } else if (message.upload) {
          send({ type: 'koaws:credit', id, data: { bytes: 65_536 } })
        } else if (type === 'koaws:end') {
          send({ type: 'koaws:reply', id, data: 'taken' })
        } else if (message.since >= 0) {
          for (const token of ['lo', '!']) send({ type: 'koaws:item', id, data: { token } })
          send({ type: 'koaws:reply', id, data: { tokens: 3 } })
        } else if (type === 'ask') {
          send({ type: 'koaws:item', id, data: { token: 'Hel' } })
          setImmediate(() => socket.terminate())
        }
      })
    })
    await once(server, 'listening')
  })
  after(async () => {
    for (const socket of server.clients) socket.terminate()
    server.close()
    await once(server, 'close')
  })
  beforeEach(() => {
    received.length = 0
  })

  function url(): string {
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  type Connect = typeof connectFromSource

  /** Streams over a cut, and uploads. */
  async function exercise(connect: Connect, options: object): Promise<void> {
    const client = connect(url(), { WebSocket, minDelay: 1, ...options })
    try {
      const answer = client.stream('ask', { prompt: 'hi' }, { resume: true })
      const tokens: unknown[] = []
      for await (const item of answer) tokens.push((item as { token: string }).token)
      expect(tokens).to.deep.equal(['Hel', 'lo', '!'])
      expect(await answer.reply).to.deep.equal({ tokens: 3 })
      expect(await client.upload('upload', undefined, ['a', 'b'])).to.equal('taken')
      await eventually(() => received.some(({ type }) => type === 'koaws:cancel'))
    } finally {
      client.close()
    }
  }

  it('is loaded for the first stream', () => exercise(connectFromSource, {}))

  for (const [name, main, part] of BUILDS) {
    it(`is loaded for the first stream of ${name}`, async () => {
      const { connect } = (await import(pathToFileURL(join(dist, main)).href)) as {
        connect: Connect
      }
      await exercise(connect, {})
    })

    it(`is passed to connect() of ${name}`, async () => {
      const { connect } = await import(pathToFileURL(join(dist, main)).href)
      const given = await import(pathToFileURL(join(dist, part)).href)
      expect(Object.keys(given)).to.deep.equal(['streams'])
      await exercise(connect, { streams: given.streams })
    })

    it(`is not in ${name}`, () => {
      const code = readFileSync(join(dist, main), 'utf8')
      expect(code).to.include(`import("./${part.split('/').at(-1)}")`)
      expect(code).to.not.include('koaws:end')
      expect(readFileSync(join(dist, part), 'utf8')).to.not.match(/RequestError/)
    })
  }

  it('rejects iterator, reply and upload when it cannot be loaded', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'koaws-'))
    try {
      const copy = join(folder, 'koaws-client.mjs')
      await copyFile(join(dist, 'koaws-client.js'), copy)
      const { connect } = (await import(pathToFileURL(copy).href)) as { connect: Connect }
      const client = connect(url(), { WebSocket })
      const answer = client.stream('ask')
      const code = 'ERR_KOAWS_NOT_LOADED'
      expect(await rejection(answer.next())).to.include({ code })
      const error = await rejection(answer.reply)
      expect(error).to.include({ code, type: 'ask', status: 503, sent: false })
      // It names the file that must be served beside the client.
      expect(error['message']).to.include('koaws-client-streams.js')
      expect(await rejection(client.upload('upload', undefined, []))).to.include({ code })
      client.close()
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  describe('that is being loaded without end', () => {
    let folder: string
    let connect: Connect
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'koaws-'))
      const copy = join(folder, 'koaws-client.js')
      await copyFile(join(dist, 'koaws-client.js'), copy)
      await writeFile(join(folder, 'package.json'), '{"type":"module"}')
      await writeFile(join(folder, 'koaws-client-streams.js'), 'await new Promise(() => {})')
      connect = (await import(pathToFileURL(copy).href)).connect
    })
    after(() => rm(folder, { recursive: true }))

    it('rejects the stream with the reason of the signal', async () => {
      const client = connect(url(), { WebSocket })
      const controller = new AbortController()
      const { signal } = controller
      const answer = client.stream('ask', undefined, { signal })
      const sent = client.upload('upload', undefined, [], { signal })
      await settle()
      controller.abort(new Error('no more'))
      for (const promise of [answer.next(), answer.reply, sent]) {
        expect(await rejection(promise)).to.equal(signal.reason)
      }
      client.close()
    })

    it('rejects the stream when the client closes', async () => {
      const client = connect(url(), { WebSocket })
      const answer = client.stream('ask')
      await settle()
      client.close()
      for (const promise of [answer.next(), answer.return(), answer.reply]) {
        expect(await rejection(promise)).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
      }
    })

    it('rejects the stream after its timeout', async () => {
      const client = connect(url(), { WebSocket })
      const answer = client.stream('ask', undefined, { timeout: 20 })
      expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: false })
      client.close()
    })
  })

  it('is sent in order with other messages when it was passed to connect()', async () => {
    const { client, last } = await openClient({ streams })
    client.push('first')
    const answer = client.stream('ask')
    client.push('last')
    expect(last.sent.map(({ type }) => type)).to.deep.equal(['first', 'ask', 'last'])
    client.close()
    await rejection(answer.reply)
  })

  it('encodes the data at the call', async () => {
    const { client, last } = await openClient()
    const data = { text: 'before' }
    const answer = client.stream('ask', data)
    data.text = 'after'
    await eventually(() => last.sent.length === 1)
    expect(last.last.data).to.deep.equal({ text: 'before' })
    client.close()
    await rejection(answer.reply)
  })

  it('sends nothing for a stream that is left before it was loaded', async () => {
    const { client, last } = await openClient()
    const answer = client.stream('ask')
    expect(await answer.return()).to.deep.equal({ done: true, value: undefined })
    expect(await answer.next()).to.deep.equal({ done: true, value: undefined })
    expect(await rejection(answer.reply)).to.include({ code: 'ERR_KOAWS_CANCELLED', sent: false })
    await settle()
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('rejects a stream when the client was closed before it was loaded', async () => {
    const { client } = await openClient()
    const answer = client.stream('ask')
    client.close()
    expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_CLOSED' })
    expect(await rejection(answer.reply)).to.include({ code: 'ERR_KOAWS_CLOSED' })
  })

  it('raises no unhandled rejection when the application does not use the stream', async () => {
    const unhandled: unknown[] = []
    const hear = (error: unknown): void => {
      unhandled.push(error)
    }
    process.on('unhandledRejection', hear)
    try {
      const { client } = await openClient()
      client.stream('koaws:wrong')
      client.stream('ask')
      client.stream('ask', 1, { credit: -1 })
      client.close()
      for (let turn = 0; turn < 5; turn++) await settle()
      expect(unhandled).to.deep.equal([])
    } finally {
      process.off('unhandledRejection', hear)
    }
  })
})
