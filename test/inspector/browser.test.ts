/// <reference lib="dom" />
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { InspectorOptions } from '../../lib/inspector/index.ts'
import { barriers } from '../examples/support/accessibility.ts'
import { launchChromium } from '../support/chromium.ts'
import type { House } from '../support/order.ts'
import { needs } from '../support/programs.ts'
import { cleanUp, eventually, openSocket, rejected } from '../support/server.ts'
import { inspectedHouse } from './support/page.ts'

const SCREENSHOTS = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const DESKTOP = { viewport: { width: 1100, height: 720 }, colorScheme: 'light' } as const
const LOOKS = [
  { name: 'a light desktop', width: 1100, height: 720, colorScheme: 'light' },
  { name: 'a dark desktop', width: 1100, height: 720, colorScheme: 'dark' },
  { name: 'a dark phone', width: 390, height: 780, colorScheme: 'dark' },
  { name: 'a narrow window', width: 320, height: 480, colorScheme: 'light' },
] as const

describe('the page of the inspector in Chromium', () => {
  needs('chromium')
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    for (const context of browser.contexts()) await context.close()
    await cleanUp()
  })

  /** Opens a view. Errors of the page, and violations of its policy, fail the test. */
  async function visit(
    { port }: House,
    view = '',
    options: BrowserContextOptions = DESKTOP,
  ): Promise<{ page: Page; errors: string[] }> {
    const page = await (await browser.newContext(options)).newPage()
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text())
    })
    await page.goto(`http://127.0.0.1:${port}/inspector${view}`)
    return { page, errors }
  }

  async function busyHouse(options: InspectorOptions = {}): Promise<House> {
    const site = await inspectedHouse({
      actions: ['close', 'leave', 'push'],
      redact: (state) => state,
      ...options,
    })
    for (let i = 0; i < 12; i++) {
      await site.enter({
        user: `user-${i % 7}`,
        rooms: i % 2 ? ['lobby', 'news'] : ['lobby'],
        ...(i % 3 ? {} : { path: '/v1' }),
      })
    }
    const foreign = { headers: { Origin: 'https://shop.example' } }
    await rejected(openSocket(site.port, '/', foreign))
    await rejected(openSocket(site.port, '/chat/unknown?token=secret'))
    return site
  }

  it('shows the overview, live, with a minute of charts', async () => {
    const site = await busyHouse()
    const { page, errors } = await visit(site)
    await page.getByText('Live').waitFor()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    const talking = setInterval(() => site.hub.room('lobby').send('tick'), 50)
    try {
      await page.getByRole('cell', { name: `${site.hub.status().id} (this page)` }).waitFor()
      await page.locator('.tiles svg polyline').first().waitFor()
      await page.waitForFunction(() =>
        /^[1-9]\d+\/s$/.test(document.querySelectorAll('.tiles strong')[2]?.textContent ?? ''),
      )
      await page.waitForFunction(
        () =>
          (document.querySelector('.tiles polyline')?.getAttribute('points') ?? '').split(' ')
            .length >= 8,
      )
      await takeScreenshot(page, 'inspector-overview')
    } finally {
      clearInterval(talking)
    }
    expect(errors).to.deep.equal([])
  })

  it('finds a connection, shows it, and closes it after a confirmation', async () => {
    const site = await busyHouse()
    const { page, errors } = await visit(site, '#connections')
    await page.getByText('13 connections; page 1').first().waitFor()
    await page.getByLabel('Field').selectOption('user')
    await page.getByLabel('Search').fill('user-6')
    await page.getByText('1 connections; page 1').first().waitFor()
    await page.getByRole('button', { name: 'Age ↓' }).click()
    await page.waitForFunction(() => document.querySelector('th[aria-sort=ascending]') !== null)
    await page.locator('tbody a').first().click()
    const [connection] = [...site.hub.localConnections.values()].filter(
      ({ userId }) => userId === 'user-6',
    )
    await page.getByRole('heading', { name: `Connection ${connection?.id}` }).waitFor()
    expect(await page.evaluate(() => document.activeElement?.tagName)).to.equal('H2')
    await page.getByText('koaWs()').waitFor()
    await page.getByRole('link', { name: 'lobby' }).waitFor()
    site.hub.room('lobby').push('said', { text: '<b>bold</b>' })
    connection?.push('said', { text: 'hello' })
    await page.getByRole('cell', { name: 'said' }).first().waitFor()
    await page.getByRole('button', { name: 'Close…' }).click()
    await page.getByLabel('Reason').fill('from the inspector')
    await page.getByRole('button', { name: 'Close', exact: true }).click()
    expect(await connection?.closed).to.include({ code: 1000, reason: 'from the inspector' })
    await page.getByText('“from the inspector”').waitFor()
    expect(errors).to.deep.equal([])
  })

  it('says why an upgrade was refused, and how to fix it', async () => {
    const site = await busyHouse()
    const { page, errors } = await visit(site, '#rejections')
    await page.getByText('403 /', { exact: true }).waitFor()
    await page.getByText('The page may connect only if its Origin equals the Host').waitFor()
    await page.getByText('404 /chat/unknown').waitFor()
    await page.getByText('Details').first().click()
    await page.getByText('koaWs()').first().waitFor()
    expect(await page.content()).to.not.include('secret')
    await takeScreenshot(page, 'inspector-rejections')
    expect(errors).to.deep.equal([])
  })

  it('shows rooms and users with their members, and sends a test push', async () => {
    const site = await busyHouse()
    const { page, errors } = await visit(site, '#rooms')
    await page.getByRole('link', { name: 'lobby' }).click()
    await page.getByRole('heading', { name: 'Room lobby' }).waitFor()
    await page.getByText('12 connections; page 1').first().waitFor()
    await page.getByRole('button', { name: 'Send a test push…' }).click()
    await page.getByLabel('Data').fill('not JSON')
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.getByText('The data is not valid JSON.').waitFor()
    await page.getByLabel('Data').fill('{"a":1}')
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.getByText('Sent to 4 connections of this instance.').waitFor({ state: 'attached' })
    await page.getByRole('cell', { name: 'test' }).waitFor()
    await page.getByRole('link', { name: 'Users' }).click()
    await page.getByLabel('Name contains').fill('user-3')
    await page.getByRole('link', { name: 'user-3' }).click()
    await page.getByRole('heading', { name: 'User user-3' }).waitFor()
    expect(errors).to.deep.equal([])
  })

  it('shows text of clients as text', async () => {
    const site = await inspectedHouse()
    const name = '<img src=x onerror="document.title=1">'
    await site.enter({ user: name, rooms: [name] })
    const { page, errors } = await visit(site, '#rooms')
    await page.getByRole('link', { name }).click()
    await page.getByRole('heading', { name: `Room ${name}` }).waitFor()
    await page.getByRole('cell', { name }).waitFor()
    expect(await page.locator('img').count()).to.equal(0)
    expect(errors).to.deep.equal([])
  })

  it('pauses, and comes back after its connection ended', async () => {
    const site = await busyHouse()
    const { page } = await visit(site, '#connections')
    await page.getByText('13 connections; page 1').first().waitFor()
    const [socket] = [...site.hub.localConnections.values()].filter(({ path }) =>
      path.endsWith('/socket'),
    )
    socket?.terminate()
    await page.getByText('Disconnected, trying again').waitFor()
    await page.getByText('Live').waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText('Paused').waitFor()
    expect(await page.getByRole('button', { name: 'Pause' }).getAttribute('aria-pressed')).to.equal(
      'true',
    )
  })

  it('can be used with the keyboard alone', async () => {
    const site = await busyHouse()
    const { page } = await visit(site)
    await page.getByText('Live').waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).to.equal(
      'Skip to content',
    )
    for (let i = 0; i < 2; i++) await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByText('13 connections; page 1').first().waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.tagName)).to.equal('INPUT')
    await page.keyboard.type('user-6')
    await page.getByText('1 connections; page 1').first().waitFor()
    await page.locator('tbody a').first().focus()
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Close…' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await eventually(() => true)
    expect(await page.evaluate(() => document.activeElement?.textContent)).to.equal('Close…')
  })

  for (const { name, width, height, colorScheme } of LOOKS) {
    it(`has no barriers on ${name}`, async () => {
      const site = await busyHouse({ bodies: true })
      const { page } = await visit(site, '', { viewport: { width, height }, colorScheme })
      const [connection] = site.hub.localConnections.values()
      const views = {
        '#overview': 'ready; none',
        '#connections': '13 connections; page 1',
        [`#connection/${connection?.id}`]: 'Handshake',
        '#rooms': '2 rooms; the 2 largest',
        '#room/lobby': '12 connections; page 1',
        '#rejections': '404 /chat/unknown',
        '#closes': 'The last 200 connections',
      }
      for (const [view, text] of Object.entries(views)) {
        await page.goto(`http://127.0.0.1:${site.port}/inspector/${view}`)
        if (view === '#overview') await page.locator('tbody tr').first().waitFor()
        else await page.getByText(text).first().waitFor()
        expect(await barriers(page), view).to.deep.equal([])
      }
    })
  }
})

/** Keeps a picture of the page for the guide, when KOAWS_SCREENSHOTS is set. */
async function takeScreenshot(page: Page, name: string): Promise<void> {
  if (!process.env['KOAWS_SCREENSHOTS']) return
  await mkdir(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) })
}
