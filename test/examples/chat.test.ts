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
    await page.getByText('Connected', { exact: true }).waitFor()
    return page
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
    await say(bo, 'It is: /rooms/kitchen')
    await heard(ann, 'It is: /rooms/kitchen')
    await say(ann, 'Thanks! Does <b>bold</b> work here?')
    await heard(bo, 'Thanks! Does <b>bold</b> work here?')
    await say(bo, 'No, it is shown as you typed it.')
    await heard(ann, 'No, it is shown as you typed it.')
    expect(await texts(ann, '#members li')).to.deep.equal(['Ann (you)', 'Bo'])
    if (process.env['KOAWS_SCREENSHOTS']) await takeScreenshots(ann, bo)

    // Had Cy been sent anything before, it would stand before this.
    await say(cy, 'Anybody here?')
    await heard(cy, 'Anybody here?')
    expect(await texts(cy, '#log li p')).to.deep.equal(['Anybody here?'])
    expect(await texts(cy, '#members li')).to.deep.equal(['Cy (you)'])

    await bo.close()
    await ann.getByText('Bo left').waitFor()
  })

  it('refuses a message that is too long', async () => {
    const chat = await start()
    const page = await enter(chat, 'Ann', 'lobby')
    const [cookie] = await page.context().cookies()
    const client = new Client(`ws://127.0.0.1:${chat.port}/rooms/lobby/socket`, {
      headers: { cookie: `token=${cookie?.value}` },
    })
    const types: string[] = []
    await new Promise<void>((resolve, reject) => {
      client.on('error', reject)
      client.on('open', () => client.send('x'.repeat(501)))
      client.on('message', (data: RawData) => {
        const { type } = JSON.parse(data.toString())
        types.push(type)
        if (type === 'error' || type === 'said') resolve()
      })
    })
    client.terminate()
    expect(types).to.deep.equal(['welcome', 'members', 'error'])
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
    await ann.getByText('Connected', { exact: true }).waitFor()
    await bo.getByText('Connected', { exact: true }).waitFor()
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
