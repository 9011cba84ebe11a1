/// <reference lib="dom" />
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { WebSocket as Client, type RawData } from 'ws'
import { launchChromium } from '../support/chromium.ts'

const SERVER = fileURLToPath(new URL('../../examples/chat/server.mjs', import.meta.url))
const SCREENSHOTS = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const DESKTOP_LIGHT = { viewport: { width: 1100, height: 700 }, colorScheme: 'light' } as const
const PHONE_DARK = {
  viewport: { width: 390, height: 780 },
  colorScheme: 'dark',
  deviceScaleFactor: 2,
  hasTouch: true,
} as const

interface Chat {
  child: ChildProcess
  url: string
  port: number
}

describe('examples/chat', function () {
  this.timeout(60_000)
  const children = new Set<ChildProcess>()
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    for (const context of browser.contexts()) await context.close()
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
    }
    children.clear()
  })

  /** Start the example and wait for the line that tells its URL. */
  async function start({ port = 0, secret = 'a secret' } = {}): Promise<Chat> {
    const child = spawn(process.execPath, [SERVER], {
      env: { ...process.env, PORT: String(port), SECRET: secret },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.add(child)
    let errors = ''
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /http:\S+/.exec(line)?.[0]
      if (url) return { child, url, port: Number(new URL(url).port) }
    }
    throw new Error(`the example ended without a URL: ${errors}`)
  }

  /** A user with a browser of their own, logged in and connected. */
  async function enter(chat: Chat, name: string, room: string, options?: BrowserContextOptions) {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    await page.goto(new URL(`/rooms/${room}`, chat.url).href)
    await page.getByLabel('Your name').fill(name)
    await page.getByRole('button', { name: 'Join' }).click()
    await connected(page)
    return page
  }

  /** Another tab of the same user. */
  async function openTab(page: Page, room: string): Promise<Page> {
    const tab = await page.context().newPage()
    await tab.goto(new URL(`/rooms/${room}`, page.url()).href)
    await connected(tab)
    return tab
  }

  /** A program with the login of a page. */
  async function connectAs(page: Page, chat: Chat, room: string): Promise<Client> {
    const [cookie] = await page.context().cookies()
    const client = new Client(`ws://127.0.0.1:${chat.port}/rooms/${room}/socket`, {
      headers: { cookie: `token=${cookie?.value}` },
    })
    await once(client, 'open')
    return client
  }

  it('rejects a WebSocket without a login', async () => {
    const chat = await start()
    const client = new Client(`ws://127.0.0.1:${chat.port}/rooms/lobby/socket`)
    client.on('error', () => {})
    const [, response] = await once(client, 'unexpected-response')
    expect(response.statusCode).to.equal(401)

    const page = await (await browser.newContext()).newPage()
    await page.goto(new URL('/rooms/lobby', chat.url).href)
    expect(new URL(page.url()).pathname).to.equal('/login')
    const closed = await page.evaluate(
      () =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(`ws://${location.host}/rooms/lobby/socket`)
          socket.onopen = () => resolve('open')
          socket.onclose = ({ code }) => resolve(`closed with ${code}`)
        }),
    )
    expect(closed).to.equal('closed with 1006')
  })

  it('says what is wrong with a name', async () => {
    const chat = await start()
    const page = await (await browser.newContext()).newPage()
    await page.goto(new URL('/login', chat.url).href)
    await page.getByLabel('Your name').fill('   ')
    await page.getByRole('button', { name: 'Join' }).click()
    await page.getByRole('alert').getByText('A name has 1 to 20 characters.').waitFor()
  })

  it('carries messages between the pages in a room and to no other room', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby', DESKTOP_LIGHT)
    const bo = await enter(chat, 'Bo', 'lobby', PHONE_DARK)
    const cy = await enter(chat, 'Cy', 'kitchen')
    await ann.getByText('Bo joined').waitFor()

    await say(ann, 'Hi Bo, is the new room open?')
    await heard(bo, 'Hi Bo, is the new room open?')
    await say(bo, 'It is: choose it in the list')
    await heard(ann, 'It is: choose it in the list')
    await say(ann, 'Thanks! Does <b>bold</b> work here?')
    await heard(bo, 'Thanks! Does <b>bold</b> work here?')
    await say(bo, 'No, it is shown as you typed it.')
    await heard(ann, 'No, it is shown as you typed it.')
    await choose(bo, 'Ann')
    await say(bo, 'See you there?')
    await heard(ann, 'See you there?')
    await choose(bo, 'Everybody')
    expect(await texts(ann, '#members li')).to.deep.equal(['Ann (you)', 'Bo'])
    await type(bo, 'I am')
    await ann.getByText('Bo is typing').waitFor()
    if (process.env['KOAWS_SCREENSHOTS']) await takeScreenshots(ann, bo)

    // Had Cy been sent anything before, it would stand before this.
    await say(cy, 'Anybody here?')
    await heard(cy, 'Anybody here?')
    expect(await texts(cy, '#log li p')).to.deep.equal(['Anybody here?'])
    expect(await texts(cy, '#members li')).to.deep.equal(['Cy (you)'])

    await bo.close()
    await ann.getByText('Bo left').waitFor()
  })

  it('shows who is typing, and nobody once it was sent', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby')
    const bo = await enter(chat, 'Bo', 'lobby')
    const cy = await enter(chat, 'Cy', 'kitchen')
    await ann.getByText('Bo joined').waitFor()
    await type(bo, 'hm')
    await ann.getByText('Bo is typing').waitFor()
    expect(await texts(bo, '#typing')).to.deep.equal([''])
    expect(await texts(cy, '#typing')).to.deep.equal([''])
    await bo.keyboard.press('Enter')
    await heard(ann, 'hm')
    expect(await texts(ann, '#typing')).to.deep.equal([''])
  })

  it('lets its user choose a room by keyboard, and says how many are in each', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby')
    await enter(chat, 'Bo', 'kitchen')
    await ann.getByRole('link', { name: 'kitchen, 1 connection' }).focus()
    const tab = await openTab(ann, 'kitchen')
    await ann.getByRole('link', { name: 'kitchen, 2 connections' }).waitFor()
    await tab.close()
    await ann.getByRole('link', { name: 'kitchen, 1 connection' }).waitFor()
    await ann.keyboard.press('Enter') // the focus has stayed on the link
    await ann.getByRole('heading', { name: 'kitchen' }).waitFor()
    await ann.getByRole('link', { name: 'kitchen, 2 connections' }).waitFor()
    expect(await ann.locator('#rooms [aria-current=page]').textContent()).to.equal('kitchen 2')
    await ann.getByRole('link', { name: 'lobby, 0 connections' }).waitFor()
  })

  it('carries a private message to all tabs of both, and to nobody else', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby')
    const annElsewhere = await openTab(ann, 'garden')
    const bo = await enter(chat, 'Bo', 'lobby')
    const boElsewhere = await openTab(bo, 'kitchen')
    const cy = await enter(chat, 'Cy', 'lobby')
    await choose(ann, 'Bo')
    await say(ann, 'Between us')
    for (const page of [ann, annElsewhere, bo, boElsewhere]) await heard(page, 'Between us')
    expect(await texts(annElsewhere, '#log li b')).to.deep.equal(['Ann, only to Bo'])
    expect(await texts(boElsewhere, '#log li b')).to.deep.equal(['Ann, only to you'])
    await choose(ann, 'Everybody')
    await say(ann, 'To all')
    await heard(cy, 'To all')
    expect(await texts(cy, '#log li p')).to.deep.equal(['To all'])
    expect(await texts(ann, '#log li p')).to.deep.equal(['Between us', 'To all'])
  })

  it('says so when the receiver of private messages has left', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby')
    const bo = await enter(chat, 'Bo', 'lobby')
    await choose(ann, 'Bo')
    await bo.close()
    await ann.getByRole('alert').getByText('This person has left').waitFor()
    expect(await ann.getByLabel('To').inputValue()).to.equal('')
  })

  it('logs all tabs of a user out, and nobody else', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann', 'lobby')
    const tab = await openTab(ann, 'kitchen')
    const bo = await enter(chat, 'Bo', 'lobby')
    await ann.getByRole('button', { name: 'Log out' }).click()
    await ann.getByLabel('Your name').waitFor()
    await tab.getByText('You are not logged in any more.').waitFor()
    await bo.getByText('Ann left').waitFor()
    await say(bo, 'Alone')
    await heard(bo, 'Alone')
  })

  it('refuses what is no message of the chat, and goes on', async () => {
    const chat = await start()
    const page = await enter(chat, 'Ann', 'lobby')
    const client = await connectAs(page, chat, 'lobby')
    const errors: string[] = []
    const told = new Promise<void>((resolve) => {
      client.on('message', (data: RawData) => {
        const { type, text } = JSON.parse(data.toString())
        if (type === 'error') errors.push(text)
        if (type === 'said') resolve()
      })
    })
    client.send('no JSON')
    client.send('null')
    client.send(Buffer.from([0, 255]))
    for (const text of ['x'.repeat(501), '  ', undefined]) {
      client.send(JSON.stringify({ type: 'say', text }))
    }
    client.send(JSON.stringify({ type: 'say', text: 'psst', to: 'nobody' }))
    client.send(JSON.stringify({ type: 'say', text: 'fine' }))
    await told
    client.terminate()
    const [foreign, length] = [
      'This is no message of the chat.',
      'A message has 1 to 500 characters.',
    ]
    expect(errors).to.deep.equal([
      foreign,
      foreign,
      foreign,
      length,
      length,
      length,
      'This person is not here any more.',
    ])
  })

  it('knows its own rooms only', async () => {
    const chat = await start()
    const page = await enter(chat, 'Ann', 'lobby')
    const answer = await page.goto(new URL('/rooms/attic', chat.url).href)
    expect(answer?.status()).to.equal(404)
  })

  it('tells everybody when to come back, and a page may come earlier', async () => {
    const first = await start()
    const ann = await enter(first, 'Ann', 'lobby')
    const socket = await connectAs(ann, first, 'kitchen')
    const exit = once(first.child, 'exit')
    first.child.kill('SIGTERM')
    const [code, reason] = await once(socket, 'close')
    expect(code).to.equal(1012)
    expect(String(reason)).to.match(/^restart, retry in \d+ ms$/)
    await ann.getByText('Disconnected.').waitFor()
    await exit
    await start({ port: first.port })
    // Where its own time has come meanwhile, the button is gone, and nothing happens.
    await ann.locator('#retry').dispatchEvent('click')
    await connected(ann)
  })

  it('ends by itself on SIGTERM, and the pages come back with the server', async () => {
    const first = await start()
    const ann = await enter(first, 'Ann', 'lobby')
    const bo = await enter(first, 'Bo', 'lobby')

    first.child.kill('SIGTERM')
    const [code, signal] = await once(first.child, 'exit')
    expect({ code, signal }).to.deep.equal({ code: 0, signal: null })
    await ann.getByText('Disconnected.').waitFor()
    await bo.getByText('Disconnected.').waitFor()

    await start({ port: first.port })
    await connected(ann)
    await connected(bo)
    await say(ann, 'Back again')
    await heard(bo, 'Back again')
  })

  it('says when the login has ended', async () => {
    const first = await start()
    const ann = await enter(first, 'Ann', 'lobby')
    first.child.kill('SIGTERM')
    await once(first.child, 'exit')
    await start({ port: first.port, secret: 'another secret' })
    await ann.getByText('You are not logged in any more.').waitFor()
    await ann.getByRole('link', { name: 'Log in' }).click()
    await ann.getByLabel('Your name').waitFor()
  })

  it('ends on SIGTERM before its first request', async () => {
    const { child } = await start()
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    expect(code).to.equal(0)
  })
})

async function connected(page: Page): Promise<void> {
  await page.getByText('Connected', { exact: true }).waitFor()
}

/** Choose whom messages are for. */
async function choose(page: Page, name: string): Promise<void> {
  await page.getByLabel('To').selectOption({ label: name })
}

/** Write a message, and do not send it yet. */
async function type(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).pressSequentially(text)
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.getByRole('button', { name: 'Send' }).click()
}

/** Wait until a message is in the log, word for word. */
async function heard(page: Page, text: string): Promise<void> {
  await page.getByRole('log').getByText(text, { exact: true }).waitFor()
}

function texts(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents()
}

async function takeScreenshots(desktop: Page, phone: Page): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true })
  await desktop.screenshot({ path: join(SCREENSHOTS, 'chat-desktop-light.png') })
  await phone.screenshot({ path: join(SCREENSHOTS, 'chat-phone-dark.png') })
}
