/// <reference lib="dom" />
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { WebSocket } from 'ws'
import { type Client, connect } from '../../lib/client/index.ts'
import type { ProtocolDefinition } from '../../lib/protocol/definition.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import type { Told } from './support/restart-server.ts'

const SERVER = fileURLToPath(new URL('./support/restart-server.ts', import.meta.url))
const EACH = 100 // clients in Chromium, and as many in Node
const ALL = 2 * EACH

/** A server, and the times at which it accepted clients. */
class Server {
  readonly child: ChildProcess
  readonly opened: number[] = []
  readonly exited: Promise<unknown[]>
  port = 0
  #isReady = false

  constructor() {
    this.child = fork(SERVER, { execArgv: ['--import=tsx'] })
    this.exited = once(this.child, 'exit')
    this.child.on('message', (told: Told) => {
      if ('ready' in told) this.#isReady = true
      if ('port' in told) this.port = told.port
      if ('opened' in told && this.port > 0) this.opened.push(told.opened)
    })
  }

  async ready(): Promise<void> {
    await this.#until(() => this.#isReady)
  }

  async listen(port: number): Promise<void> {
    this.child.send(port)
    await this.#until(() => this.port > 0)
  }

  /** Resolves when this many clients were accepted. */
  async open(count: number): Promise<void> {
    await this.#until(() => this.opened.length >= count)
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exited
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.child, 'message')
  }
}

/** Clients in this process, and the times at which they became open. */
class NodeClients {
  readonly opened: number[] = []
  readonly #clients: Client<ProtocolDefinition>[]

  constructor(url: string, count: number) {
    this.#clients = Array.from({ length: count }, () => connect(url, { WebSocket }))
    for (const client of this.#clients) {
      client.subscribe(() => {
        if (client.state.status === 'open') this.opened.push(Date.now())
      })
    }
  }

  close(): void {
    for (const client of this.#clients) client.close()
  }
}

describe('a rolling restart (slow)', () => {
  needs('chromium')
  const servers: Server[] = []
  let browser: Browser
  let inNode: NodeClients | undefined

  before(async () => {
    browser = await launchChromium()
  })

  after(async () => {
    inNode?.close()
    await browser?.close()
    for (const server of servers) await server.kill()
  })

  const startServer = (): Server => {
    const server = new Server()
    servers.push(server)
    return server
  }

  it('reconnects 200 clients, at most 20 % of them within one second', async function () {
    const first = startServer()
    const second = startServer()
    await first.ready()
    await first.listen(0)
    const url = `http://127.0.0.1:${first.port}/`
    const page = await browser.newPage()
    await page.goto(url)
    await openClients(page, EACH)
    inNode = new NodeClients(url, EACH)
    await first.open(ALL)
    await second.ready()
    expect(await openedIn(page)).to.have.length(EACH)

    const began = Date.now()
    first.child.kill('SIGTERM')
    await second.listen(first.port)
    await second.open(ALL)
    await page.waitForFunction((count) => opened.length === count, ALL)
    await first.exited

    expect(first.child.exitCode).to.equal(0)
    expect(second.opened, 'each came once').to.have.length(ALL)
    expect(inNode.opened).to.have.length(ALL)
    const atClients = [...inNode.opened.slice(EACH), ...(await openedIn(page)).slice(EACH)]
    const counts = { server: busiest(second.opened), clients: busiest(atClients) }
    const last = Math.max(...second.opened) - began
    const seconds = perSecond(second.opened, began).join(' ')
    if (this.test)
      this.test.title += `: ${seconds}; at most ${counts.server}, the last after ${last} ms`
    expect(counts.server).to.be.at.most(ALL * 0.2)
    expect(counts.clients).to.be.at.most(ALL * 0.2)
  })
})

/** In the page: the times at which clients became open. */
declare const opened: number[]

/** Opens clients of the bundle one after the other, because Chromium delays many at a time. */
async function openClients(page: Page, count: number): Promise<void> {
  await page.evaluate(async (count) => {
    const opened: number[] = []
    const clients: unknown[] = []
    Object.assign(globalThis, { opened, clients })
    const { connect } = await import(`${location.origin}/koaws-client.js`)
    for (let i = 0; i < count; i++) {
      await new Promise<void>((resolve) => {
        const client = connect('/')
        clients.push(client)
        client.subscribe(() => {
          if (client.state.status !== 'open') return
          opened.push(Date.now())
          resolve()
        })
      })
    }
  }, count)
}

function openedIn(page: Page): Promise<number[]> {
  return page.evaluate(() => opened)
}

/** Returns the largest number of these times within any one second. */
function busiest(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b)
  let most = 0
  for (let first = 0, last = 0; last < sorted.length; last++) {
    while ((sorted[last] as number) - (sorted[first] as number) >= 1_000) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

function perSecond(times: readonly number[], start: number): number[] {
  const counts: number[] = []
  for (const time of times) {
    const second = Math.max(0, Math.floor((time - start) / 1_000))
    counts[second] = (counts[second] ?? 0) + 1
  }
  return Array.from(counts, (count) => count ?? 0)
}
