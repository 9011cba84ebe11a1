/// <reference lib="dom" />
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { WebSocket as Client, type RawData } from 'ws'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
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
  notices,
  openTab,
  reconnecting,
  said,
  say,
  startChat as start,
  texts,
  type,
} from './support/chat.ts'

const SCREENSHOTS = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const DESKTOP_LIGHT = { viewport: { width: 1100, height: 700 }, colorScheme: 'light' } as const
const DESKTOP_DARK = { viewport: { width: 1100, height: 700 }, colorScheme: 'dark' } as const
const PHONE_DARK = {
  viewport: { width: 390, height: 780 },
  colorScheme: 'dark',
  deviceScaleFactor: 2,
  hasTouch: true,
} as const
const LOOKS = [
  { name: 'a light desktop', width: 1100, height: 700, colorScheme: 'light' },
  { name: 'a dark desktop', width: 1100, height: 700, colorScheme: 'dark' },
  { name: 'a dark phone', width: 390, height: 780, colorScheme: 'dark' },
  { name: 'a phone on its side', width: 780, height: 390, colorScheme: 'light' },
  { name: 'a narrow window', width: 320, height: 480, colorScheme: 'light' },
] as const

describe('examples/chat', () => {
  needs('chromium')
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    await leaveAll(browser)
    await killAll()
  })

  const enter = (chat: Chat, name: string, room: string, options?: BrowserContextOptions) =>
    enterWith(browser, chat, name, room, options)

  async function visit(chat: Chat, path: string, options?: BrowserContextOptions): Promise<Page> {
    const page = await (await browser.newContext(options)).newPage()
    await page.goto(new URL(path, chat.url).href)
    return page
  }

  describe('login', () => {
    it('is required for a page and for a WebSocket', async () => {
      const chat = await start()
      const client = new Client(`ws://127.0.0.1:${chat.port}/rooms/lobby/socket`)
      client.on('error', () => {})
      const [, response] = await once(client, 'unexpected-response')
      expect(response.statusCode).to.equal(401)

      const page = await visit(chat, '/rooms/lobby')
      expect(new URL(page.url()).pathname).to.equal('/login')
      const closed = await page.evaluate(
        () =>
          new Promise<string>((resolve) => {
            const socket = new WebSocket(`ws://${location.host}/rooms/lobby/socket`, 'koaws.v1')
            socket.onmessage = ({ data }) => resolve(data)
            socket.onclose = ({ code }) => resolve(`closed with ${code}`)
          }),
      )
      expect(closed).to.equal('closed with 4401')
    })

    it('reports an invalid name, and returns the focus to it', async () => {
      const chat = await start()
      const page = await visit(chat, '/login')
      await page.getByLabel('Your name').fill('   ')
      await page.getByRole('button', { name: 'Join' }).click()
      await alerted(page, 'A name has 1 to 20 characters.')
      const name = page.getByLabel('Your name')
      expect(await name.getAttribute('aria-invalid')).to.equal('true')
      expect(await page.evaluate(() => document.activeElement?.id)).to.equal('name')
      expect(await barriers(page)).to.deep.equal([])
      await name.fill('Ann')
      expect(await texts(page, '[role=alert]')).to.deep.equal([''])
      await page.keyboard.press('Enter')
      await connected(page)
    })

    it('is requested again on a page with a forged cookie', async () => {
      const chat = await start()
      const page = await visit(chat, '/login')
      // The page loads with the cookie of the login, and only its WebSocket gets the forged one.
      await page.route('**/koaws-client.js', async (route) => {
        await page.context().addCookies([{ ...forged, path: '/' }])
        await route.continue()
      })
      await page.getByLabel('Your name').fill('Ann')
      await page.keyboard.press('Enter')
      await page.getByRole('status').getByText('Logged out').waitFor()
      await page.getByRole('link', { name: 'Log in' }).click()
      await page.getByLabel('Your name').waitFor()
    })

    it('ends in all tabs of a user, and in no other browser', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby')
      const tab = await openTab(ann, 'kitchen')
      const bo = await enter(chat, 'Bo', 'lobby')
      await ann.bringToFront() // a background page barely gets frames
      await ann.getByRole('button', { name: 'Log out' }).click()
      await ann.getByLabel('Your name').waitFor()
      await tab.getByRole('status').getByText('Logged out').waitFor()
      expect(await barriers(tab)).to.deep.equal([])
      await say(tab, 'Too late')
      await alerted(tab, 'Not sent: There is no connection.')
      await bo.getByText('Ann left').waitFor()
      await say(bo, 'Alone')
      await heard(bo, 'Alone')
    })

    it('ends when the server restarts with another secret', async () => {
      const first = await start()
      const ann = await enter(first, 'Ann', 'lobby')
      await kill(first)
      await start({ port: first.port, secret: 'another secret' })
      await ann.getByRole('status').getByText('Logged out').waitFor()
      await ann.getByRole('link', { name: 'Log in' }).click()
      await ann.getByLabel('Your name').waitFor()
    })

    it('gives access to the listed rooms only', async () => {
      const chat = await start()
      const page = await enter(chat, 'Ann', 'lobby')
      const answer = await page.goto(new URL('/rooms/attic', chat.url).href)
      expect(answer?.status()).to.equal(404)
    })
  })

  describe('a message', () => {
    it('reaches the pages in its room, and no other room', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby', DESKTOP_LIGHT)
      const bo = await enter(chat, 'Bo Jensen', 'lobby', PHONE_DARK)
      const cy = await enter(chat, 'Cy', 'kitchen')
      await ann.getByText('Bo Jensen joined').waitFor()

      await say(ann, 'Hi Bo, is the new room open?')
      await heard(bo, 'Hi Bo, is the new room open?')
      await say(bo, 'It is!')
      await say(bo, 'Choose it in the list.')
      await heard(ann, 'Choose it in the list.')
      await say(ann, 'Thanks! Does <b>bold</b> work here?')
      await heard(bo, 'Thanks! Does <b>bold</b> work here?')
      await say(bo, 'No, it is shown as you typed it.')
      await heard(ann, 'No, it is shown as you typed it.')
      await choose(bo, 'Ann')
      await say(bo, 'See you there?')
      await heard(ann, 'See you there?')
      await choose(bo, 'Everybody')
      expect(await texts(ann, '#members li > :nth-child(2)')).to.deep.equal(['Ann', 'Bo Jensen'])
      await type(bo, 'I am')
      await ann.getByText('Bo Jensen is typing').waitFor()
      await takeScreenshot(ann, 'chat-desktop-light')
      await takeScreenshot(bo, 'chat-phone-dark')

      // A message to Cy from another room would precede this one.
      await say(cy, 'Anybody here?')
      await heard(cy, 'Anybody here?')
      expect(await said(cy)).to.deep.equal(['Anybody here?'])
      expect(await notices(cy)).to.deep.equal([])
      expect(await texts(cy, '#members li > :nth-child(2)')).to.deep.equal(['Cy'])

      await bo.close()
      await ann.getByText('Bo Jensen left').waitFor()
    })

    it('is announced as typing, until it is sent', async () => {
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

    it('in private reaches all tabs of both users, and no other page', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby')
      const annElsewhere = await openTab(ann, 'garden')
      const bo = await enter(chat, 'Bo', 'lobby')
      const boElsewhere = await openTab(bo, 'kitchen')
      const cy = await enter(chat, 'Cy', 'lobby')
      await choose(ann, 'Bo')
      await say(ann, 'Between us')
      for (const page of [ann, annElsewhere, bo, boElsewhere]) await heard(page, 'Between us')
      expect(await texts(annElsewhere, '.from > *')).to.deep.equal(['You', 'only to Bo'])
      expect(await texts(boElsewhere, '.from > *')).to.deep.equal(['Ann', 'only to you'])
      await choose(ann, 'Everybody')
      await say(ann, 'To all')
      await heard(cy, 'To all')
      expect(await said(cy)).to.deep.equal(['To all'])
      expect(await said(ann)).to.deep.equal(['Between us', 'To all'])
    })

    it('in private stays private when the receiver has left, and can be retried', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby')
      const bo = await enter(chat, 'Bo', 'lobby')
      const cy = await enter(chat, 'Cy', 'lobby')
      await choose(ann, 'Bo')
      const { context, url } = { context: bo.context(), url: bo.url() }
      await bo.close()
      await ann.getByText('Bo left').waitFor()
      await say(ann, 'Our secret')
      await alerted(ann, 'Not sent: This person is not here any more.')
      const back = await context.newPage()
      await back.goto(url)
      await ann.getByText('Bo joined').nth(1).waitFor()
      await ann.getByRole('log').getByRole('button', { name: 'Retry' }).click()
      await heard(back, 'Our secret')
      await heard(ann, 'Our secret')
      await say(cy, 'Hello')
      await heard(cy, 'Hello')
      expect(await said(cy)).to.deep.equal(['Hello'])
    })

    it('that is sent twice with one id is shown once', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby')
      const client = await connectAs(ann, chat, 'lobby')
      for (const id of ['1', '1', '2']) {
        client.send(JSON.stringify({ type: 'say', id: 7, data: { id, text: `number ${id}` } }))
      }
      await heard(ann, 'number 2')
      expect(await said(ann)).to.deep.equal(['number 1', 'number 2'])
      client.terminate()
    })

    it('with a mistake is answered with an error, and later messages work', async () => {
      const chat = await start()
      const page = await enter(chat, 'Ann', 'lobby')
      const client = await connectAs(page, chat, 'lobby')
      const errors: string[] = []
      const told = new Promise<void>((resolve) => {
        client.on('message', (data: RawData) => {
          const { type, error } = JSON.parse(data.toString())
          if (error) errors.push(`${error.code} ${error.message}`)
          if (type === 'koaws:reply') resolve()
        })
      })
      const request = (id: number, data: object) =>
        client.send(JSON.stringify({ type: 'say', id, data }))
      client.send('no JSON')
      request(1, { id: '1', text: 'x'.repeat(501) })
      request(2, { id: '2', text: '  ' })
      request(3, { id: '3', text: 'psst', to: 'nobody' })
      request(4, { id: '4', text: 'fine' })
      await told
      client.terminate()
      expect(errors).to.deep.equal([
        'ERR_KOAWS_MALFORMED No JSON',
        'ERR_KOAWS_INVALID text: A message has 1 to 500 characters.',
        'ERR_KOAWS_INVALID text: A message has 1 to 500 characters.',
        'gone This person is not here any more.',
      ])
    })
  })

  describe('the page', () => {
    it('shows a rejected message in a toast that stays while it is hovered or focused', async () => {
      const chat = await start()
      const page = await (await browser.newContext()).newPage()
      await page.clock.install()
      await enterIn(page, chat, 'Ann', 'lobby')
      await tooLong(page)
      const toast = page.locator('.toast')
      await alerted(page, 'Not sent: A message has 1 to 500 characters.')
      await page.getByRole('log').getByText('Not sent: A message').waitFor()
      expect(await barriers(page)).to.deep.equal([])

      await toast.hover()
      await page.clock.runFor(10_000)
      expect(await toast.count()).to.equal(1)
      await page.mouse.move(0, 0)
      await page.getByRole('button', { name: 'Dismiss' }).focus()
      await page.clock.runFor(10_000)
      expect(await toast.count()).to.equal(1)
      await page.getByLabel('Message', { exact: true }).focus()
      await page.clock.runFor(10_000)
      expect(await toast.count()).to.equal(0)

      await page.getByRole('button', { name: 'Retry' }).click()
      await page.getByRole('button', { name: 'Dismiss' }).focus()
      await page.keyboard.press('Escape')
      expect(await toast.count()).to.equal(0)
      expect(await page.evaluate(() => document.activeElement?.id)).to.equal('text')
    })

    it('shows why it was disconnected for good, and connects again on demand', async () => {
      const chat = await start()
      const page = await visit(chat, '/login')
      // Two cookies with the same name: the upgrade is answered with 400.
      await page.context().addCookies([{ ...forged, path: '/rooms/lobby/socket' }])
      await page.getByLabel('Your name').fill('Ann')
      await page.keyboard.press('Enter')
      await page.getByRole('status').getByText('Disconnected: ').waitFor()
      expect(await barriers(page)).to.deep.equal([])
      await page.context().clearCookies({ path: '/rooms/lobby/socket' })
      await page.getByRole('button', { name: 'Connect again' }).click()
      await connected(page)
    })

    it('works with a keyboard alone', async () => {
      const chat = await start()
      const bo = await enter(chat, 'Bo', 'lobby')
      const ann = await visit(chat, '/rooms/lobby')
      await ann.keyboard.type('Ann') // the focus starts in the field
      await ann.keyboard.press('Enter')
      await connected(ann)
      await ann.getByRole('link', { name: 'lobby, 2 people' }).waitFor()
      await ann.keyboard.type('One line')
      await ann.keyboard.press('Shift+Enter')
      await ann.keyboard.type('and another')
      await ann.keyboard.press('Enter')
      await heard(bo, 'One line\nand another')

      // The focus order, from the top of the page.
      await ann.evaluate(() => {
        document.body.tabIndex = -1
        document.body.focus()
      })
      const stops: string[] = []
      for (const _ of Array(10)) {
        await ann.keyboard.press('Tab')
        stops.push(await focusOf(ann))
      }
      expect(stops).to.deep.equal([
        'Skip to the message',
        'Log out',
        'lobby, 2 people',
        'kitchen, 0 people',
        'garden, 0 people',
        'workshop, 0 people',
        'Messages',
        'To',
        'Message',
        'Send',
      ])
    })

    it('lets the user choose a room by keyboard, and shows the number of people in each', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby')
      const bo = await enter(chat, 'Bo', 'kitchen')
      await ann.getByRole('link', { name: 'kitchen, 1 person' }).focus()
      const cy = await enter(chat, 'Cy', 'kitchen')
      await openTab(bo, 'kitchen') // still one person
      await ann.getByRole('link', { name: 'kitchen, 2 people' }).waitFor()
      await cy.close()
      await ann.getByRole('link', { name: 'kitchen, 1 person' }).waitFor()
      await ann.keyboard.press('Enter') // the focus has stayed on the link
      await ann.getByRole('heading', { name: 'kitchen' }).waitFor()
      await ann.getByRole('link', { name: 'kitchen, 2 people' }).waitFor()
      expect(await ann.locator('#rooms [aria-current=page]').textContent()).to.equal('kitchen2')
      await ann.getByRole('link', { name: 'lobby, 0 people' }).waitFor()
    })

    it('scrolls to new messages, unless the user has scrolled up', async () => {
      const chat = await start()
      const ann = await enter(chat, 'Ann', 'lobby', { viewport: { width: 320, height: 480 } })
      const bo = await enter(chat, 'Bo', 'lobby')
      for (let i = 0; i < 12; i++) await say(bo, `number ${i}`)
      await heard(ann, 'number 11')
      expect(await ann.getByText('number 11', { exact: true }).isVisible()).to.equal(true)
      await ann.locator('#log').evaluate((log) => {
        log.scrollTop = 0
        return new Promise((resolve) => log.addEventListener('scroll', resolve, { once: true }))
      })
      await say(bo, 'and one more')
      const button = ann.getByRole('button', { name: 'New messages' })
      await button.waitFor()
      expect(await ann.locator('#log').evaluate(({ scrollTop }) => scrollTop)).to.equal(0)
      await button.click()
      await button.waitFor({ state: 'hidden' })
      expect(await fromEnd(ann)).to.be.below(2)
      await ann.setViewportSize({ width: 320, height: 320 }) // a keyboard appears
      await ann.waitForFunction(() => {
        const { scrollHeight, scrollTop, clientHeight } = document.querySelector('#log') as Element
        return clientHeight < 200 && scrollHeight - scrollTop - clientHeight < 2
      })
    })

    it('has no accessibility barriers, on phones and desktops, light and dark', async () => {
      const chat = await start()
      const page = await enter(chat, `Ann ${'W'.repeat(16)}`, 'lobby', {})
      const bo = await enter(chat, 'B👩‍👩‍👧‍👦'.padEnd(20, 'o'), 'lobby')
      await say(bo, `Look: ${'long'.repeat(40)} 👩‍👩‍👧‍👦${'🎉'.repeat(60)}`)
      await say(bo, 'https://example.com/'.padEnd(300, 'path/'))
      await choose(bo, `Ann ${'W'.repeat(16)}`)
      await say(bo, 'Between us')
      await heard(page, 'Between us')
      await page.getByLabel('To').selectOption({ index: 1 })
      await say(page, 'Yes')
      await choose(page, 'Everybody')
      await say(page, 'w'.repeat(300))
      await heard(page, 'w'.repeat(300))
      await choose(bo, 'Everybody')
      await tooLong(page)
      await page.locator('.failed').waitFor()
      await page.locator('.toast').waitFor()
      await page.getByRole('button', { name: 'Dismiss' }).focus() // the toast stays
      await type(bo, 'hm')
      await page.getByText('is typing').waitFor()
      for (const look of LOOKS) expect(await barriersIn(page, look), look.name).to.deep.equal([])

      await kill(chat)
      await say(page, 'Is anybody there?')
      await page.getByRole('button', { name: 'Try now' }).waitFor()
      await page.getByText('Sending').waitFor()
      for (const look of LOOKS) expect(await barriersIn(page, look), look.name).to.deep.equal([])
      const login = await visit(await start(), '/login')
      for (const look of LOOKS) expect(await barriersIn(login, look), look.name).to.deep.equal([])
    })
  })

  describe('when the server ends', () => {
    it('by a crash, both pages reconnect and keep their messages', async () => {
      const first = await start()
      const ann = await enter(first, 'Ann', 'lobby')
      const bo = await enter(first, 'Bo', 'lobby')
      await say(ann, 'Before')
      await heard(bo, 'Before')
      await ann.getByText('Bo joined').waitFor()

      await kill(first)
      await reconnecting(ann)
      await reconnecting(bo)
      await say(ann, 'While it was away')
      await ann.locator('.pending').getByText('Sending').waitFor()
      await start({ port: first.port })
      await connected(ann)
      await connected(bo)
      await heard(ann, 'While it was away')
      await say(bo, 'Back again')
      await heard(ann, 'Back again')
      // The page that returns first does not report that the other has left.
      expect(await notices(ann)).to.deep.equal(['Bo joined'])
      expect(await notices(bo)).to.deep.equal([])
      expect(await said(ann)).to.deep.equal(['Before', 'While it was away', 'Back again'])
    })

    it('with a message under way, the page sends it again, and it is shown once', async () => {
      const first = await start()
      const ann = await enter(first, 'Ann', 'lobby')
      const bo = await enter(first, 'Bo', 'lobby')
      first.child.kill('SIGSTOP')
      await say(ann, 'Into the void')
      await ann.locator('.pending').getByText('Sending').waitFor()
      await kill(first)
      await start({ port: first.port })
      await heard(ann, 'Into the void')
      await connected(bo)
      await say(ann, 'And on')
      await heard(bo, 'And on')
      expect(await said(ann)).to.deep.equal(['Into the void', 'And on'])
    })

    it('by SIGTERM, the page counts the seconds down, and reconnects at once on demand', async () => {
      const first = await start({ random: 0.9 }) // the first of 42 clients gets a delay of 4.3 s
      const ann = await (await browser.newContext(DESKTOP_DARK)).newPage()
      await ann.clock.install()
      await enterIn(ann, first, 'Ann', 'lobby')
      const bo = await enter(first, 'Bo Jensen', 'lobby')
      await say(bo, 'Your chairs are in the garden.')
      await say(bo, 'And there are clouds.')
      await heard(ann, 'And there are clouds.')
      await say(ann, 'Is it raining there?')
      await heard(bo, 'Is it raining there?')
      for (let i = 0; i < 40; i++) await connectAs(bo, first, 'lobby') // two clients alone would get a short delay
      const exit = once(first.child, 'exit')
      first.child.kill('SIGTERM')
      await reconnecting(ann)
      await ann.clock.pauseAt(await ann.evaluate(() => Date.now() + 500)) // from here on the test advances the clock
      const left = await secondsLeft(ann)
      expect(left).to.be.within(2, 5)
      await ann.clock.runFor(1_000)
      expect(await secondsLeft(ann)).to.equal(left - 1)
      await exit
      await say(ann, 'I only ask because of the chairs.')
      await takeScreenshot(ann, 'chat-reconnecting')
      await start({ port: first.port })
      await ann.getByRole('button', { name: 'Try now' }).focus()
      await ann.keyboard.press('Enter')
      await connected(ann)
      await heard(ann, 'I only ask because of the chairs.')
      expect(await focusOf(ann)).to.equal('Message') // the button has disappeared
    })

    it('by SIGTERM, it exits with 0, and the pages reconnect to the next server', async () => {
      const first = await start({ random: 0.1 })
      const ann = await enter(first, 'Ann', 'lobby')
      const bo = await enter(first, 'Bo', 'lobby')
      const program = await connectAs(ann, first, 'kitchen')
      const closed = once(program, 'close')
      first.child.kill('SIGTERM')
      const [code, reason] = await closed
      expect(code).to.equal(1012)
      expect(String(reason)).to.match(/^restart, retry in \d+ ms$/)
      if (first.child.exitCode === null) await once(first.child, 'exit')
      expect(first.child.exitCode).to.equal(0)

      await start({ port: first.port })
      await connected(ann)
      await connected(bo)
      await say(ann, 'Back again')
      await heard(bo, 'Back again')
      expect(await notices(bo)).to.deep.equal([])
    })

    it('and a person does not return, the page reports after 30 s that the person left', async () => {
      const first = await start()
      const ann = await (await browser.newContext()).newPage()
      await ann.clock.install()
      await enterIn(ann, first, 'Ann', 'lobby')
      const bo = await enter(first, 'Bo', 'lobby')
      await enter(first, 'Cy', 'lobby')
      await ann.getByText('Cy joined').waitFor()
      await kill(first)
      await bo.context().close()
      await start({ port: first.port })
      await connected(ann)
      await ann.locator('#members li', { hasText: 'Bo' }).getByText('(away)').waitFor()
      await ann.locator('#members li:not(.away)', { hasText: 'Cy' }).waitFor()
      expect(await notices(ann)).to.deep.equal(['Bo joined', 'Cy joined'])
      await ann.clock.fastForward(30_000)
      await ann.getByText('Bo left').waitFor()
      expect(await notices(ann)).to.deep.equal(['Bo joined', 'Cy joined', 'Bo left'])
    })

    it('by SIGTERM before its first request, it exits with 0', async () => {
      const { child } = await start()
      child.kill('SIGTERM')
      const [code] = await once(child, 'exit')
      expect(code).to.equal(0)
    })
  })
})

/** Returns the accessibility barriers in a window of this size and color scheme. */
async function barriersIn(page: Page, look: (typeof LOOKS)[number]): Promise<string[]> {
  const { width, height, colorScheme } = look
  await page.setViewportSize({ width, height })
  await page.emulateMedia({ colorScheme })
  return barriers(page)
}

/** A cookie like that of the login, with a token of another signature. */
const forged = { name: 'token', value: 'forged', domain: '127.0.0.1' }

/** Sends a message that the field of the page would reject. */
async function tooLong(page: Page): Promise<void> {
  await page.locator('#text').evaluate((field) => field.removeAttribute('maxlength'))
  await say(page, 'x'.repeat(501))
}

/** Returns the name of the focused element. */
function focusOf(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement as HTMLInputElement
    const label = element.getAttribute('aria-label') ?? element.labels?.[0]?.firstElementChild
    const text = typeof label === 'string' ? label : label?.textContent
    return (text ?? element.labels?.[0]?.textContent ?? element.textContent ?? '').trim()
  })
}

/** Returns the seconds that the countdown shows. */
async function secondsLeft(page: Page): Promise<number> {
  return Number(/^ in (\d+) s$/.exec((await page.locator('#countdown').textContent()) ?? '')?.[1])
}

/** Returns the distance of the log from its end, in pixels. */
function fromEnd(page: Page): Promise<number> {
  return page
    .locator('#log')
    .evaluate(
      ({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight,
    )
}

async function takeScreenshot(page: Page, name: string): Promise<void> {
  if (!process.env['KOAWS_SCREENSHOTS']) return
  await mkdir(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) })
}
