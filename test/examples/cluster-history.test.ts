import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { connected, heard, logOf, reconnecting, say } from './support/chat.ts'
import {
  ClusterChat,
  enterElsewhere,
  instanceOf,
  onOther,
  stopClusters,
} from './support/cluster-chat.ts'
import { closeLinks, Link } from './support/link.ts'

const SCRIPTS = ['pm2', 'redis'] as const

describe('the history of examples/cluster', () => {
  needs('chromium', 'nginx', 'redis-server')
  let browser: Browser
  let chat: ClusterChat

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    for (const context of browser?.contexts() ?? []) await context.close()
    closeLinks()
    await stopClusters()
  })

  for (const script of SCRIPTS) {
    describe(`npm run example:${script}`, () => {
      beforeEach(async () => {
        chat = await ClusterChat.start(script)
      })

      it('has what a page missed while its instance was killed', async () => {
        const link = await Link.to(chat.port)
        const bo = await enterElsewhere(browser, chat, 'Bo')
        const ann = await enterElsewhere(browser, link, 'Ann', bo)
        await say(bo, 'Before')
        await heard(ann, 'Before')
        const gone = pidOf(await instanceOf(ann))
        link.cut()
        await reconnecting(ann)
        await say(bo, 'One')
        await heard(bo, 'One')
        process.kill(gone, 'SIGKILL')
        await say(bo, 'Two')
        await say(bo, 'Three')
        await heard(bo, 'Three')
        link.restore()
        await heard(ann, 'Three')
        await say(ann, 'After')
        await heard(bo, 'After')
        const line = '3 messages while you were away'
        expect(await logOf(ann)).to.deep.equal(['Before', line, 'One', 'Two', 'Three', 'After'])
        await ann.reload()
        await connected(ann)
        expect(await logOf(ann)).to.deep.equal(['Before', 'One', 'Two', 'Three', 'After'])
      })

      it('has no gap when an instance is killed while pages talk', async function () {
        const bo = await enterElsewhere(browser, chat, 'Bo')
        const ann = await enterElsewhere(browser, chat, 'Ann', bo)
        await heardBoth(bo, ann, 'Hello')
        const sent = ['Hello']
        // First the instance of the page that listens, then that of the page that speaks. Redis has only two.
        for (const page of script === 'redis' ? [ann] : [ann, bo]) {
          const gone = pidOf(await instanceOf(page))
          process.kill(gone, 'SIGKILL')
          let isBack = false
          const back = onOther(page, [gone]).then(() => {
            isBack = true
          })
          while (!isBack) {
            const text = `number ${sent.length}`
            sent.push(text)
            await say(bo, text)
          }
          await back
          const last = `back from ${gone}`
          sent.push(last)
          await heardBoth(bo, ann, last)
        }
        for (const page of [bo, ann]) expect(await messagesOf(page)).to.deep.equal(sent)
        if (this.test) this.test.title += `: ${sent.length} messages`
      })

      if (script === 'redis') {
        it('has what was sent while Redis did not answer', async () => {
          const bo = await enterElsewhere(browser, chat, 'Bo')
          const ann = await enterElsewhere(browser, chat, 'Ann', bo)
          await heardBoth(bo, ann, 'Before')
          const redis = pidOf(/redis-server: .*/.exec(chat.output)?.[0] ?? '')
          process.kill(redis, 'SIGSTOP')
          await say(bo, 'One')
          await say(ann, 'Two')
          for (const page of [bo, ann]) {
            await page.locator('.pending').getByText('Sending').waitFor()
          }
          process.kill(redis, 'SIGCONT')
          for (const page of [bo, ann]) {
            await heard(page, 'One')
            await heard(page, 'Two')
          }
          expect(await logOf(bo)).to.deep.equal(['Before', 'One', 'Two'])
          expect(await logOf(ann)).to.have.members(['Before', 'One', 'Two'])
        })
      }
    })
  }
})

/** Says something on a page, and waits until both have it. */
async function heardBoth(from: Page, to: Page, text: string): Promise<void> {
  await say(from, text)
  await heard(from, text)
  await heard(to, text)
}

/** Returns the messages without the lines about missed ones. */
async function messagesOf(page: Page): Promise<string[]> {
  return (await logOf(page)).filter((text) => !text.endsWith('while you were away'))
}

function pidOf(instance: string): number {
  return Number(/\d+$/.exec(instance))
}
