/// <reference lib="dom" />
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { type WebSocket, WebSocketServer } from 'ws'
import type { connect } from '../../lib/client/index.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'

type OnPage = {
  client: ReturnType<typeof connect>
  heard: unknown[]
  states: string[]
}

const scripts: Record<string, Buffer> = {}
for (const name of ['/koaws-client.js', '/koaws-client-streams.js']) {
  scripts[name] = readFileSync(new URL(`../../dist${name}`, import.meta.url))
}
const PAGE = `<!doctype html><title>client</title><link rel="icon" href="data:,">
<script type="module">
  import { connect } from '/koaws-client.js'
  const client = connect('/chat', { token: () => 'a b', minDelay: 20, maxDelay: 100 })
  Object.assign(window, { client, heard: [], states: [client.state.status] })
  client.subscribe(() => states.push(client.state.status))
  client.on('said', (data) => heard.push(data))
  client.on('confirm', (question) => question === 'Sure?')
</script>`

describe('the client bundle in Chromium', () => {
  needs('chromium')
  let browser: Browser
  let page: Page
  let server: Server
  let wss: WebSocketServer
  const offered: string[][] = []
  /** The paths of the requests. */
  const loaded: unknown[] = []

  before(async () => {
    browser = await launchChromium()
  })
  after(() => browser?.close())

  beforeEach(async () => {
    offered.length = 0
    loaded.length = 0
    server = createServer((req, res) => {
      loaded.push(req.url)
      const script = scripts[req.url ?? '']
      res.setHeader('content-type', script ? 'text/javascript' : 'text/html')
      res.end(script ?? PAGE)
    })
    wss = new WebSocketServer({
      server,
      handleProtocols: (names) => {
        offered.push([...names])
        return 'koaws.v1'
      },
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    page = await browser.newPage()
  })
  afterEach(async () => {
    await page.close()
    for (const socket of wss.clients) socket.terminate()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })

  function load(): Promise<unknown> {
    return page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  }

  async function welcomed(): Promise<WebSocket> {
    const [socket] = await once(wss, 'connection')
    const [first] = await once(socket, 'message')
    expect(JSON.parse(String(first)).type).to.equal('koaws:resume')
    socket.send(JSON.stringify({ type: 'koaws:welcome', data: { connection: 'r3Fq' } }))
    await page.waitForFunction(() => (window as unknown as OnPage).client.state.status === 'open')
    return socket
  }

  function fetchState(): Promise<object> {
    return page.evaluate(() => (window as unknown as OnPage).client.state)
  }

  it('exchanges messages', async () => {
    const [socket] = await Promise.all([welcomed(), load()])
    expect(offered).to.deep.equal([['koaws.v1', 'koaws.bearer64.YSBi', 'koaws.resume']])
    socket.send(JSON.stringify({ type: 'said', data: 'hi' }))
    socket.send(JSON.stringify({ type: 'confirm', id: 1, data: 'Sure?' }))
    const [reply] = await once(socket, 'message')
    expect(JSON.parse(String(reply))).to.deep.equal({ type: 'koaws:reply', id: 1, data: true })
    expect(await page.evaluate(() => (window as unknown as OnPage).heard)).to.deep.equal(['hi'])
    const answer = page.evaluate(() => (window as unknown as OnPage).client.request('say', 1))
    const [question] = await once(socket, 'message')
    const { id } = JSON.parse(String(question))
    socket.send(JSON.stringify({ type: 'koaws:reply', id, data: { ok: true } }))
    expect(await answer).to.deep.equal({ ok: true })
  })

  it('loads the code of streams for the first stream', async () => {
    const [socket] = await Promise.all([welcomed(), load()])
    expect(loaded).to.deep.equal(['/', '/koaws-client.js'])
    const asked = once(socket, 'message')
    const items = page.evaluate(async () => {
      const stream = (window as unknown as OnPage).client.stream('ask', 'hi')
      const found: unknown[] = []
      for await (const item of stream) found.push(item)
      return [...found, await stream.reply]
    })
    const { id, credit } = JSON.parse(String((await asked)[0]))
    expect(credit).to.equal(65_536)
    expect(loaded).to.deep.equal(['/', '/koaws-client.js', '/koaws-client-streams.js'])
    for (const data of ['Hel', 'lo']) socket.send(JSON.stringify({ type: 'koaws:item', id, data }))
    socket.send(JSON.stringify({ type: 'koaws:reply', id, data: 2 }))
    expect(await items).to.deep.equal(['Hel', 'lo', 2])
  })

  it('reconnects when the connection breaks, and stops when the server closes with 4403', async () => {
    const [socket] = await Promise.all([welcomed(), load()])
    const again = welcomed()
    socket.terminate()
    const second = await again
    expect(await page.evaluate(() => (window as unknown as OnPage).states)).to.deep.equal([
      ...['connecting', 'open', 'waiting', 'connecting', 'open'],
    ])
    second.close(4403, 'Members only')
    await page.waitForFunction(
      () => (window as unknown as OnPage).client.state.status === 'stopped',
    )
    expect(await fetchState()).to.deep.equal({
      status: 'stopped',
      code: 4403,
      reason: 'Members only',
    })
  })

  it('stays open after an offline event if the server answers the ping, and disconnects if it does not', async () => {
    const [socket] = await Promise.all([welcomed(), load()])
    const goOffline = () => page.evaluate(() => window.dispatchEvent(new Event('offline')))
    const asked = once(socket, 'message')
    await goOffline()
    const { id } = JSON.parse(String((await asked)[0]))
    socket.send(JSON.stringify({ type: 'koaws:reply', id, data: null }))
    socket.send(JSON.stringify({ type: 'said', data: 'still here' }))
    await page.waitForFunction(() => (window as unknown as OnPage).heard.length === 1)
    expect(await fetchState()).to.include({ status: 'open' })
    const again = once(socket, 'message')
    await goOffline()
    await again
    await page.waitForFunction(() => (window as unknown as OnPage).states.includes('waiting'))
  }).timeout(30_000)

  it('pings the server on an online event, and closes with the code and reason of close()', async () => {
    const [socket] = await Promise.all([welcomed(), load()])
    const ping = once(socket, 'message')
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    expect(JSON.parse(String((await ping)[0]))).to.deep.equal({ type: 'koaws:ping', id: 1 })
    const closed = once(socket, 'close')
    await page.evaluate(() => (window as unknown as OnPage).client.close(4000, 'done'))
    const [code, reason] = await closed
    expect([code, String(reason)]).to.deep.equal([4000, 'done'])
  })
})
