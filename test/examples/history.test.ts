/// <reference lib="dom" />
import { expect } from 'chai'
import type { Browser, BrowserContextOptions, Page, Route } from 'playwright-core'
import type { WebSocket as Client, RawData } from 'ws'
import { memoryAdapter } from '../../lib/index.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { eventually } from '../support/server.ts'
import { barriers } from './support/accessibility.ts'
import {
  alerted,
  type Chat,
  choose,
  connectAs,
  connected,
  enterIn,
  enter as enterWith,
  heard,
  kill,
  killAll,
  leaveAll,
  logOf,
  reconnecting,
  type Site,
  said,
  say,
  startChat as start,
  texts,
} from './support/chat.ts'
import { closeInstances, startInstance } from './support/instances.ts'
import { closeLinks, Link } from './support/link.ts'

/** The number of messages that the server keeps for a room. */
const KEPT = 300
const TOO_MANY = 'Some messages could not be recovered: there were too many.'
const FORGOTTEN = 'Some messages could not be recovered: the server has lost its history.'
const SNAPSHOT = '**/history'

describe('the history of examples/chat', () => {
  needs('chromium')
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    await leaveAll(browser)
    closeLinks()
    await killAll()
    await closeInstances()
  })

  const enter = (site: Site, name: string, room = 'lobby', options?: BrowserContextOptions) =>
    enterWith(browser, site, name, room, options)

  /** Opens a page behind a network that can be cut. */
  const enterOver = (link: Link, name: string): Promise<Page> => enter(link, name, 'lobby', {})

  /** Opens a page that loads its snapshot through `answer`. */
  async function enterWithSnapshot(
    chat: Chat,
    name: string,
    answer: (route: Route) => Promise<void>,
  ): Promise<Page> {
    const page = await (await browser.newContext()).newPage()
    await page.route(SNAPSHOT, answer)
    await enterIn(page, chat, name, 'lobby')
    return page
  }

  /** Opens another tab of the same user, over the network of its own. */
  async function openTabAt(page: Page, chat: Chat, room: string): Promise<Page> {
    const tab = await page.context().newPage()
    await tab.goto(new URL(`/rooms/${room}`, chat.url).href)
    await connected(tab)
    return tab
  }

  describe('on load', () => {
    it('has the messages of the room, and the private messages of the user', async () => {
      const chat = await start()
      const bo = await enter(chat, 'Bo')
      const cy = await enter(chat, 'Cy', 'kitchen')
      await say(cy, 'In the kitchen')
      await heard(cy, 'In the kitchen')
      await say(bo, 'One')
      await say(bo, 'Two')
      await heard(bo, 'Two')

      const ann = await enter(chat, 'Ann')
      expect(await logOf(ann)).to.deep.equal(['One', 'Two'])
      await choose(bo, 'Ann')
      await say(bo, 'Between us')
      await heard(ann, 'Between us')
      await ann.reload()
      await connected(ann)
      expect(await logOf(ann)).to.deep.equal(['One', 'Two', 'Between us'])
      expect(await texts(ann, '.from > *')).to.deep.equal(['Bo', 'Bo', 'Bo', 'only to you'])
      expect(await barriers(ann)).to.deep.equal([])

      const di = await enter(chat, 'Di')
      expect(await logOf(di)).to.deep.equal(['One', 'Two'])
    })

    it('has each message once after a reload of the page, and goes on', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann')
      const bo = await enter(chat, 'Bo')
      await say(ann, 'Mine')
      await heard(bo, 'Mine')
      await say(bo, 'Yours')
      await heard(ann, 'Yours')
      for (const text of ['After the first', 'After the second']) {
        await ann.reload()
        await connected(ann)
        await say(bo, text)
        await heard(ann, text)
      }
      const all = ['Mine', 'Yours', 'After the first', 'After the second']
      expect(await logOf(ann)).to.deep.equal(all)
      expect(await texts(ann, '.mine .text')).to.deep.equal(['Mine'])
    })

    it('has a message that is sent between the snapshot and the connection', async () => {
      const chat = await start()
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(bo, 'Before')
      const ann = await enterWithSnapshot(chat, 'Ann', async (route) => {
        const response = await route.fetch()
        await say(bo, 'Between')
        await heard(bo, 'Between')
        await route.fulfill({ response })
      })
      await heard(ann, 'Between')
      await say(bo, 'After')
      await heard(ann, 'After')
      expect(await logOf(ann)).to.deep.equal(['Before', 'Between', 'After'])
    })

    it('is read out by a screen reader only from the first new message on', async () => {
      const chat = await start()
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(bo, 'Before')
      let live: string | null = null
      const ann = await enterWithSnapshot(chat, 'Ann', async (route) => {
        live = await route.request().frame().locator('#log').getAttribute('aria-live')
        await route.continue()
      })
      expect(live).to.equal('off')
      expect(await ann.locator('#log').getAttribute('aria-live')).to.equal('polite')
    })

    it('is missing when it cannot be loaded: the page says so, and connects', async () => {
      const chat = await start()
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(bo, 'Before')
      const ann = await enterWithSnapshot(chat, 'Ann', (route) => route.abort())
      await alerted(ann, 'Earlier messages could not be loaded.')
      await say(bo, 'After')
      await heard(ann, 'After')
      expect(await logOf(ann)).to.deep.equal(['After'])
    })

    it('is for logged-in users only', async () => {
      const chat = await start()
      const history = (room: string): string => new URL(`/rooms/${room}/history`, chat.url).href
      const stranger = await fetch(history('lobby'))
      expect(stranger.status).to.equal(401)
      const ann = await enter(chat, 'Ann')
      const answer = await ann.context().request.get(history('lobby'))
      expect(answer.status()).to.equal(200)
      expect(answer.headers()['cache-control']).to.equal('no-store')
      expect((await ann.context().request.get(history('attic'))).status()).to.equal(404)
    })
  })

  describe('after a reconnect', () => {
    it('has the missed messages below a line with their number', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(ann, 'Before')

      link.cut()
      await reconnecting(ann)
      for (const text of ['One', 'Two', 'Three']) await say(bo, text)
      await heard(bo, 'Three')
      link.restore()
      await heard(ann, 'Three')
      const first = ['Before', '3 messages while you were away', 'One', 'Two', 'Three']
      expect(await logOf(ann)).to.deep.equal(first)
      expect(await barriers(ann)).to.deep.equal([])

      link.cut()
      await reconnecting(ann)
      await say(bo, 'Four')
      await heard(bo, 'Four')
      link.restore()
      await heard(ann, 'Four')
      await say(bo, 'Five')
      await heard(ann, 'Five')
      const second = ['1 message while you were away', 'Four', 'Five']
      expect(await logOf(ann)).to.deep.equal([...first, ...second])
    })

    it('has no line when nothing was missed', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(ann, 'Before')
      link.cut()
      await reconnecting(ann)
      link.restore()
      await connected(ann)
      await say(bo, 'After')
      await heard(ann, 'After')
      expect(await logOf(ann)).to.deep.equal(['Before', 'After'])
    })

    it('has the private messages that another tab of the user got', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const tab = await openTabAt(ann, chat, 'garden')
      const bo = await enter(chat, 'Bo')
      await choose(bo, 'Ann')
      await ann.getByText('Bo joined').waitFor()
      link.cut()
      await reconnecting(ann)
      await say(bo, 'Between us')
      await heard(tab, 'Between us')
      link.restore()
      await heard(ann, 'Between us')
      const line = '1 private message while you were away'
      expect(await logOf(ann)).to.deep.equal([line, 'Between us'])
      expect(await logOf(tab)).to.deep.equal(['Between us'])
    })

    it('does not count its own message after the answer was lost', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(chat, 'Bo')
      await ann.getByText('Bo joined').waitFor()
      link.mute()
      await say(ann, 'Mine')
      await heard(bo, 'Mine')
      await say(bo, 'Yours')
      await heard(bo, 'Yours')
      link.cut()
      await reconnecting(ann)
      link.restore()
      await heard(ann, 'Yours')
      await heard(ann, 'Mine')
      expect(await logOf(ann)).to.deep.equal(['Mine', '1 message while you were away', 'Yours'])
      await say(ann, 'And on')
      await heard(bo, 'And on')
      expect(await said(bo)).to.deep.equal(['Mine', 'Yours', 'And on'])
    })

    it('says why messages could not be recovered, and shows the kept ones', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Before')
      await heard(ann, 'Before')
      link.cut()
      await reconnecting(ann)
      await sayMany(await connectAs(bo, chat, 'lobby'), KEPT + 1)
      await ann.route(SNAPSHOT, async (route) => {
        const response = await route.fetch()
        await say(bo, 'During the reload')
        await heard(bo, 'During the reload')
        await route.fulfill({ response })
      })
      link.restore()
      await heard(ann, 'During the reload')
      await say(bo, 'After')
      await heard(ann, 'After')
      const kept = Array.from({ length: KEPT }, (_, i) => `number ${i + 1}`)
      const all = ['Before', TOO_MANY, ...kept, 'During the reload', 'After']
      expect(await logOf(ann)).to.deep.equal(all)
    })

    it('goes on when messages could be neither recovered nor loaded', async () => {
      const chat = await start()
      const link = await Link.to(chat.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(chat, 'Bo')
      link.cut()
      await reconnecting(ann)
      await sayMany(await connectAs(bo, chat, 'lobby'), KEPT + 1)
      await ann.route(SNAPSHOT, (route) => route.abort())
      link.restore()
      await alerted(ann, 'Earlier messages could not be loaded.')
      await say(bo, 'After')
      await heard(ann, 'After')
      expect(await logOf(ann)).to.deep.equal([TOO_MANY, 'After'])
    })
  })

  describe('after a restart of the server', () => {
    it('is said to be lost, but has all that was sent since', async () => {
      const first = await start()
      const link = await Link.to(first.port)
      const ann = await enter(first, 'Ann')
      const bo = await enterOver(link, 'Bo')
      await say(ann, 'Before')
      await heard(bo, 'Before')

      await kill(first)
      await reconnecting(ann)
      await reconnecting(bo)
      link.cut()
      await say(ann, 'While it was away')
      await start({ port: first.port })
      await heard(ann, 'While it was away') // Bo is not back yet
      await say(bo, 'Here too')
      link.restore()
      await heard(bo, 'Here too')
      await heard(bo, 'While it was away')
      await heard(ann, 'Here too')
      await say(ann, 'After')
      await heard(bo, 'After')

      expect(await logOf(ann)).to.have.members([
        'Before',
        'While it was away',
        FORGOTTEN,
        'Here too',
        'After',
      ])
      expect(await logOf(bo)).to.have.members([
        'Before',
        'Here too',
        FORGOTTEN,
        'While it was away',
        'After',
      ])

      await bo.reload()
      await connected(bo)
      expect(await logOf(bo)).to.have.members(['While it was away', 'Here too', 'After'])
    })
  })

  describe('with an adapter', () => {
    it('has what was missed on one instance, when the page comes to another', async () => {
      const adapter = { connect: memoryAdapter().connect, history: new RemoteEngine().open }
      const [one, two] = [await startInstance(adapter), await startInstance(adapter)]
      const link = await Link.to(one.port)
      const ann = await enterOver(link, 'Ann')
      const bo = await enter(two, 'Bo')
      await say(bo, 'Before')
      await heard(ann, 'Before')
      link.cut()
      await reconnecting(ann)
      await say(bo, 'One')
      await say(bo, 'Two')
      await heard(bo, 'Two')
      await one.close()
      link.target = two.port
      link.restore()
      await heard(ann, 'Two')
      await say(ann, 'After')
      await heard(bo, 'After')
      const all = ['Before', '2 messages while you were away', 'One', 'Two', 'After']
      expect(await logOf(ann)).to.deep.equal(all)
      await ann.reload()
      await connected(ann)
      expect(await logOf(ann)).to.deep.equal(['Before', 'One', 'Two', 'After'])
    })

    it('marks a message as being sent until it is recorded', async () => {
      const engine = new RemoteEngine()
      const chat = await startInstance({
        connect: memoryAdapter().connect,
        history: engine.open,
      })
      const ann = await enter(chat, 'Ann')
      const bo = await enter(chat, 'Bo')
      for (const store of engine.stores.values()) store.cut()
      await say(ann, 'While the engine is away')
      const { hub } = chat
      await eventually(() => hub.status().history?.queued.messages === 1, 'the message')
      await ann.locator('.pending').getByText('Sending').waitFor()
      expect(await logOf(bo)).to.deep.equal([])
      for (const store of engine.stores.values()) store.heal()
      await heard(ann, 'While the engine is away')
      await heard(bo, 'While the engine is away')
    })

    it('sends messages again that the server refused during its shutdown', async () => {
      const engine = new RemoteEngine()
      const adapter = { connect: memoryAdapter().connect, history: engine.open }
      const one = await startInstance(adapter)
      const [store] = engine.stores.values()
      const two = await startInstance(adapter)
      const link = await Link.to(one.port)
      const ann = await (await browser.newContext()).newPage()
      let isRefused = false
      ann.on('websocket', (socket) =>
        socket.on('framereceived', ({ payload }) => {
          isRefused ||= payload.includes('ERR_KOAWS_DRAINING')
        }),
      )
      await enterIn(ann, link, 'Ann', 'lobby')
      const bo = await enter(two, 'Bo')
      store?.cut()
      await say(ann, 'number 0')
      await eventually(() => one.hub.status().history?.queued.messages === 1, 'the first message')
      link.target = two.port
      const closed = one.close(10_000) // waits for the handler of the first message
      const sent = ['number 0']
      while (!isRefused) {
        sent.push(`number ${sent.length}`)
        await say(ann, sent.at(-1) as string)
      }
      store?.heal()
      store?.heal()
      for (const text of sent) await heard(bo, text)
      await closed
      for (const text of sent) await heard(ann, text)
      expect(await logOf(ann)).to.deep.equal(sent)
      expect(await logOf(bo)).to.deep.equal(sent)
      expect(await texts(ann, '.toast')).to.deep.equal([])
    })

    it('marks a message as not sent when it cannot be recorded', async () => {
      const { AdapterError } = await import('koaws')
      const engine = new RemoteEngine()
      const refuse = () => Promise.reject(new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', 'full'))
      const chat = await startInstance({
        connect: memoryAdapter().connect,
        history: (...given) => Object.assign(engine.open(...given), { append: refuse }),
      })
      const ann = await enter(chat, 'Ann')
      await say(ann, 'Too much')
      await alerted(ann, 'Not sent: The server could not store it.')
      await ann.getByRole('log').getByRole('button', { name: 'Retry' }).waitFor()
    })

    it('is off when the adapter does not record messages', async () => {
      const chat = await startInstance({ connect: memoryAdapter().connect })
      const ann = await enter(chat, 'Ann')
      const bo = await enter(chat, 'Bo')
      await say(bo, 'Hello')
      await heard(ann, 'Hello')
      await ann.reload()
      await connected(ann)
      await say(bo, 'Hello again')
      await heard(ann, 'Hello again')
      expect(await logOf(ann)).to.deep.equal(['Hello again'])
      expect(await texts(ann, '.toast')).to.deep.equal([])
    })
  })
})

/** Says this many messages, and waits for the last answer. */
async function sayMany(client: Client, count: number): Promise<void> {
  const answered = new Promise<void>((resolve) => {
    client.on('message', (data: RawData) => {
      const { type, id } = JSON.parse(data.toString())
      if (type === 'koaws:reply' && id === count) resolve()
    })
  })
  for (let i = 0; i < count; i++) {
    const said = { id: String(i), text: `number ${i}` }
    client.send(JSON.stringify({ type: 'say', id: i + 1, data: said }))
  }
  await answered
  client.terminate()
}
