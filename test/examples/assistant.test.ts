/// <reference lib="dom" />
import { once } from 'node:events'
import { expect } from 'chai'
import type { Browser, Locator, Page } from 'playwright-core'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { eventually } from '../support/server.ts'
import { barriers } from './support/accessibility.ts'
import {
  alerted,
  choose,
  connected,
  enter as enterWith,
  heard,
  kill,
  killAll,
  leaveAll,
  reconnecting,
  type Site,
  said,
  say,
  startChat as start,
} from './support/chat.ts'
import { closeLinks, Link } from './support/link.ts'

const QUESTION = 'Where does the answer come from?'
const ANSWER = '[aria-busy] .text'

describe('the assistant of examples/chat', () => {
  needs('chromium')
  let browser: Browser
  let whole: string

  before(async () => {
    const { generate } = await import('../../examples/llm/model.mjs' as string)
    whole = ''
    for await (const words of generate(QUESTION, { pause: 0 })) whole += words
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    await leaveAll(browser)
    closeLinks()
    await killAll()
  })

  const enter = (site: Site, name: string) => enterWith(browser, site, name, 'lobby')

  /** Asks the question, and waits for the first words of the answer. */
  async function ask(page: Page): Promise<void> {
    await choose(page, 'Assistant')
    await say(page, QUESTION)
    await page.waitForFunction(
      (answer) => (document.querySelector(answer)?.textContent ?? '') !== '',
      ANSWER,
    )
  }

  it('answers word by word, and only to the page that asked', async () => {
    const chat = await start()
    const ann = await enter(chat, 'Ann')
    const bo = await enter(chat, 'Bo')
    await ask(ann)
    const part = await textOf(ann)
    expect(part).to.have.length.below(whole.length)
    expect(whole.startsWith(part)).to.equal(true)
    expect(await barriers(ann)).to.deep.equal([])
    await choose(ann, 'Everybody')
    await say(ann, 'I have asked the assistant.')
    await heard(bo, 'I have asked the assistant.') // while the answer still grows
    await heard(ann, whole)
    expect(await stop(ann).count()).to.equal(0)
    expect(await barriers(ann)).to.deep.equal([])
    expect(await said(bo)).to.deep.equal(['I have asked the assistant.'])
  })

  it('stops at the button, which a keyboard reaches, and answers the next question', async () => {
    const chat = await start({ pause: 100 })
    const ann = await enter(chat, 'Ann')
    const { sent } = messagesOf(ann)
    await ann.reload()
    await connected(ann)
    await ask(ann)
    await stop(ann).focus()
    await ann.keyboard.press('Enter')
    await ann.getByText('Stopped').waitFor()
    expect(await stop(ann).count()).to.equal(0)
    expect(await ann.evaluate(() => document.activeElement?.id)).to.equal('log')
    const part = await textOf(ann)
    expect(part).to.have.length.below(whole.length)
    await eventually(() => sent.some(({ type }) => type === 'koaws:cancel'))
    await say(ann, 'Another question')
    await ann.waitForFunction(() => document.querySelectorAll('.stop').length === 1)
    expect((await said(ann))[1]).to.equal(part)
  })

  it('goes on with the same answer after a lost connection', async () => {
    const chat = await start({ pause: 50 })
    const link = await Link.to(chat.port)
    const ann = await enter(link, 'Ann')
    const { sent } = messagesOf(ann)
    await ann.reload()
    await connected(ann)
    await ask(ann)
    link.cut()
    await reconnecting(ann)
    link.restore()
    await heard(ann, whole)
    const asked = sent.filter(({ type }) => type === 'ask')
    expect(asked.map(({ again = false }) => again)).to.deep.equal([false, true])
    expect(asked[1]?.since).to.be.above(0)
  })

  it('asks for the rest of the answer after the server was killed', async () => {
    const first = await start({ pause: 50 })
    const ann = await enter(first, 'Ann')
    const { sent } = messagesOf(ann)
    await ann.reload()
    await connected(ann)
    await ask(ann)
    await kill(first)
    await reconnecting(ann)
    const part = await textOf(ann)
    await start({ port: first.port })
    await heard(ann, whole)
    const asked = sent.filter(({ type }) => type === 'ask')
    expect(asked.map(({ data }) => data.begun)).to.deep.equal([undefined, undefined, part])
  })

  it('asks for the rest after a deploy that did not wait for the end', async () => {
    const first = await start({ pause: 400, random: 0.1 })
    const ann = await enter(first, 'Ann')
    await ask(ann)
    const exit = once(first.child, 'exit')
    first.child.kill('SIGTERM') // waits for 5 seconds
    expect(await exit).to.deep.equal([0, null])
    await start({ port: first.port, pause: 1 })
    await heard(ann, whole)
  })

  it('says why there is no further answer', async () => {
    const first = await start({ pause: 100 })
    const ann = await enter(first, 'Ann')
    await ask(ann)
    await kill(first)
    await start({ port: first.port, secret: 'another secret' })
    await ann.getByRole('status').getByText('Logged out').waitFor()
    await alerted(ann, 'No further answer: There is no connection.')
    await ann.getByText('Ended early').waitFor()
  })
})

/** A message that the page has sent. */
interface Sent {
  type: string
  again?: boolean
  since?: number
  data: { begun?: string }
}

/** Collects the messages that the page sends on its next connections. */
function messagesOf(page: Page): { sent: Sent[] } {
  const sent: Sent[] = []
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => sent.push(JSON.parse(String(payload))))
  })
  return { sent }
}

/** Returns the text of the last answer. */
async function textOf(page: Page): Promise<string> {
  return (await page.locator(ANSWER).last().textContent()) ?? ''
}

function stop(page: Page): Locator {
  return page.getByRole('log').getByRole('button', { name: 'Stop' })
}
