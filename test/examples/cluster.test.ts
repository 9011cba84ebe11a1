import { existsSync } from 'node:fs'
import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { soon } from '../support/server.ts'
import { barriers } from './support/accessibility.ts'
import { choose, connected, heard, openTab, said, say, texts } from './support/chat.ts'
import {
  ClusterChat,
  enterElsewhere,
  instanceOf,
  lives,
  moveElsewhere,
  onOther,
  stopClusters,
} from './support/cluster-chat.ts'

const SCRIPTS = [
  { script: 'pm2', programs: 5, name: /^worker [0-3], pid \d+$/ },
  { script: 'redis', programs: 3, name: /^instance [12], pid \d+$/ },
] as const

describe('examples/cluster', () => {
  needs('chromium', 'nginx', 'redis-server')
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  for (const { script, programs, name } of SCRIPTS) {
    describe(`npm run example:${script}`, () => {
      let chat: ClusterChat
      let ann: Page
      let bo: Page

      before(async () => {
        chat = await ClusterChat.start(script)
        ann = await enterElsewhere(browser, chat, 'Ann')
        bo = await enterElsewhere(browser, chat, 'Bo', ann)
      })

      after(async () => {
        for (const context of browser?.contexts() ?? []) await context.close()
        await stopClusters()
      })

      it('shows each tab its instance, and the people of both instances', async () => {
        expect(await instanceOf(ann)).to.match(name)
        expect(await instanceOf(bo)).to.match(name)
        for (const page of [ann, bo]) {
          await page.getByRole('link', { name: 'lobby, 2 people' }).waitFor()
          const people = await texts(page, '#members li > :nth-child(2)')
          expect(people.sort()).to.deep.equal(['Ann', 'Bo'])
          expect(await barriers(page)).to.deep.equal([])
        }
      })

      it('delivers messages between instances', async () => {
        await say(ann, 'Hi Bo')
        await heard(bo, 'Hi Bo')
        await say(bo, 'Hi Ann')
        await heard(ann, 'Hi Ann')
        expect(await said(ann)).to.deep.equal(['Hi Bo', 'Hi Ann'])
        expect(await said(bo)).to.deep.equal(['Hi Bo', 'Hi Ann'])
      })

      it('delivers a private message to all tabs of both users, and to no other page', async () => {
        const tab = await openTab(bo, 'garden')
        await moveElsewhere(tab, bo)
        const cy = await enterElsewhere(browser, chat, 'Cy')
        await choose(ann, 'Bo')
        await say(ann, 'Between us')
        for (const page of [ann, bo, tab]) await heard(page, 'Between us')
        await choose(ann, 'Everybody')
        await say(ann, 'To all')
        await heard(cy, 'To all')
        expect((await said(cy)).at(-1)).to.equal('To all')
        expect(await said(cy)).to.not.include('Between us')
        expect(await said(tab)).to.deep.equal(['Between us'])
        await tab.close()
        await cy.close()
      })

      it('logs out all tabs of a user on all instances', async () => {
        const di = await enterElsewhere(browser, chat, 'Di')
        const tab = await openTab(di, 'garden')
        await moveElsewhere(tab, di)
        await di.bringToFront()
        await di.getByRole('button', { name: 'Log out' }).click()
        await tab.getByRole('status').getByText('Logged out').waitFor()
        await ann.getByText('Di left').waitFor()
        await di.context().close()
      })

      if (script === 'pm2') {
        it('loses no message during a PM2 reload, and both pages reconnect', async function () {
          const old = chat.pids
          let isReloading = true
          const reloaded = chat.reload().finally(() => {
            isReloading = false
          })
          const sent: string[] = []
          const attempt = Date.now() // a retry finds the messages of the attempt before in the pages
          const speak = async (page: Page, name: string): Promise<void> => {
            const text = `${attempt} ${sent.length} of ${name}`
            sent.push(text)
            await say(page, text)
          }
          while (isReloading) {
            await speak(ann, 'Ann')
            await speak(bo, 'Bo')
          }
          await reloaded
          for (const page of [ann, bo]) await onOther(page, old)
          await speak(ann, 'Ann')
          await speak(bo, 'Bo')
          for (const page of [ann, bo]) {
            for (const text of sent) await heard(page, text)
            const all = (await said(page)).filter((text) => text.startsWith(`${attempt} `))
            expect(all).to.have.members(sent)
          }
          if (this.test) this.test.title += `: ${sent.length} messages`
        })
      }

      if (script === 'redis') {
        it('moves the tabs of a killed instance to the other', async () => {
          const gone = await instanceOf(ann)
          process.kill(Number(/\d+$/.exec(gone)), 'SIGKILL')
          await ann.locator('#instance', { hasText: await instanceOf(bo) }).waitFor()
          await connected(ann)
          await say(ann, 'Back again')
          await heard(bo, 'Back again')
          expect(await texts(bo, '#members li > :nth-child(2)')).to.include.members(['Ann', 'Bo'])
        })

        it('names the package to install when redis-server is missing', async () => {
          const failure = await ClusterChat.start(script, { PATH: '' }).catch(String)
          expect(failure).to.include('redis-server is missing. Debian: apt install redis-server.')
        })
      }

      it('stops all processes on Ctrl-C', async () => {
        const { pids, home } = chat
        expect(pids).to.have.length(programs)
        expect(await chat.stop()).to.equal(0)
        await soon(() => expect(pids.filter(lives)).to.deep.equal([])) // PM2's own process exits last
        if (home) expect(existsSync(home)).to.equal(false)
      })
    })
  }
})
