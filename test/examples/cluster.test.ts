import { existsSync } from 'node:fs'
import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { launchChromium } from '../support/chromium.ts'
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
  type Watch,
  watch,
} from './support/cluster-chat.ts'

const SCRIPTS = [
  { script: 'pm2', programs: 5, name: /^worker [0-3], pid \d+$/ },
  { script: 'redis', programs: 3, name: /^instance [12], pid \d+$/ },
] as const

/** What was on its way when a connection ended may have been said so long before, in milliseconds. */
const EDGE = 5_000

describe('examples/cluster', function () {
  this.timeout(60_000)
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

      it('shows each tab the instance that it is on, and on both who is there', async () => {
        expect(await instanceOf(ann)).to.match(name)
        expect(await instanceOf(bo)).to.match(name)
        for (const page of [ann, bo]) {
          await page.getByRole('link', { name: 'lobby, 2 people' }).waitFor()
          const people = await texts(page, '#members li > :nth-child(2)')
          expect(people.sort()).to.deep.equal(['Ann', 'Bo'])
          expect(await barriers(page)).to.deep.equal([])
        }
      })

      it('lets them talk', async () => {
        await say(ann, 'Hi Bo')
        await heard(bo, 'Hi Bo')
        await say(bo, 'Hi Ann')
        await heard(ann, 'Hi Ann')
        expect(await said(ann)).to.deep.equal(['Hi Bo', 'Hi Ann'])
        expect(await said(bo)).to.deep.equal(['Hi Bo', 'Hi Ann'])
      })

      it('takes a private message to all tabs of both, and to nobody else', async () => {
        const tab = await openTab(bo, 'garden')
        await moveElsewhere(tab, bo)
        const cy = await enterElsewhere(browser, chat, 'Cy')
        await choose(ann, 'Bo')
        await say(ann, 'Between us')
        for (const page of [ann, bo, tab]) await heard(page, 'Between us')
        await choose(ann, 'Everybody')
        await say(ann, 'To all')
        await heard(cy, 'To all')
        expect(await said(cy)).to.deep.equal(['To all'])
        expect(await said(tab)).to.deep.equal(['Between us'])
        await tab.close()
        await cy.close()
      })

      it('logs out all tabs of a user, wherever they are', async () => {
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
        it('loses nothing that is said while connected when PM2 reloads, and both come back', async function () {
          const [annWatch, boWatch] = await Promise.all([watch(ann), watch(bo)])
          const old = chat.pids
          let isReloading = true
          const reloaded = chat.reload().finally(() => {
            isReloading = false
          })
          let count = 0
          while (isReloading) {
            await say(ann, `a ${++count}`)
            await say(bo, `b ${count}`)
          }
          await reloaded
          for (const page of [ann, bo]) await onOther(page, old)
          await say(ann, 'the last of Ann')
          await say(bo, 'the last of Bo')
          for (const page of [ann, bo]) {
            await heard(page, 'the last of Ann')
            await heard(page, 'the last of Bo')
          }

          const [annTo, boTo] = await Promise.all([
            compare(annWatch, boWatch, /^a /),
            compare(boWatch, annWatch, /^b /),
          ])
          expect([...annTo.missing, ...boTo.missing]).to.deep.equal([])
          for (const { owed, arrived } of [annTo, boTo]) {
            expect(owed).to.be.above(count / 4)
            expect(arrived).to.deep.equal([...new Set(arrived)])
          }
          const owed = annTo.owed + boTo.owed
          if (this.test) this.test.title += `: ${owed} of ${2 * count} messages`
        })
      }

      if (script === 'redis') {
        it('brings the tabs of an instance that was killed back on the other', async () => {
          const gone = await instanceOf(ann)
          process.kill(Number(/\d+$/.exec(gone)), 'SIGKILL')
          await ann.locator('#instance', { hasText: await instanceOf(bo) }).waitFor()
          await connected(ann)
          await say(ann, 'Back again')
          await heard(bo, 'Back again')
          expect(await texts(bo, '#members li > :nth-child(2)')).to.include.members(['Ann', 'Bo'])
        })

        it('says what to install', async () => {
          const failure = await ClusterChat.start(script, { PATH: '' }).catch(String)
          expect(failure).to.include('redis-server is missing. Debian: apt install redis-server.')
        })
      }

      it('stops everything on Ctrl-C', async () => {
        const { pids, home } = chat
        expect(pids).to.have.length(programs)
        expect(await chat.stop()).to.equal(0)
        await soon(() => expect(pids.filter(lives)).to.deep.equal([])) // PM2's own goes last
        if (home) expect(existsSync(home)).to.equal(false)
      })
    })
  }
})

interface Comparison {
  /** How many were said while the other was connected. */
  owed: number
  /** Those of them that did not get there. */
  missing: string[]
  arrived: string[]
}

/** What one page said while the other was connected, and what got there. */
async function compare(from: Watch, to: Watch, pattern: RegExp): Promise<Comparison> {
  const [all, heard, absences] = await Promise.all([from.said(), to.said(), to.absences()])
  const arrived = heard.map(({ text }) => text).filter((text) => pattern.test(text))
  let owed = all
    .filter(({ text }) => pattern.test(text))
    .sort((one, other) => one.time - other.time) // what was said twice stands where it was first
    .filter(({ time }) => !absences.some(([since, until]) => time > since && time < until))
  for (const [since] of absences) {
    const earlier = owed.filter(({ time }) => time <= since)
    const last = earlier.findLastIndex(({ text }) => arrived.includes(text))
    const onTheWay = earlier.slice(last + 1).filter(({ time }) => time > since - EDGE)
    owed = owed.filter((one) => !onTheWay.includes(one))
  }
  const missing = owed.map(({ text }) => text).filter((text) => !arrived.includes(text))
  return { owed: owed.length, missing, arrived }
}
