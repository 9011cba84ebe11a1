/// <reference lib="dom" />
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { WebSocket as Client } from 'ws'

const SERVER = fileURLToPath(new URL('../../../examples/chat/server.mjs', import.meta.url))
const children = new Set<ChildProcess>()

/** The example, running as a process of its own. */
export interface Chat {
  child: ChildProcess
  url: string
  port: number
}

export interface ChatOptions {
  port?: number
  secret?: string
  /** What `Math.random()` gives in the process, such as for the time to come back after a shutdown. */
  random?: number
}

/** Start the example and wait for the line that tells its URL. */
export async function startChat({
  port = 0,
  secret = 'a secret',
  random,
}: ChatOptions = {}): Promise<Chat> {
  const chance =
    random === undefined
      ? []
      : ['--import', `data:text/javascript,Math.random = () => ${random}`.replaceAll(' ', '%20')]
  const child = spawn(process.execPath, [...chance, SERVER], {
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

/** End a process as if it had crashed. */
export async function kill({ child }: Pick<Chat, 'child'>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** End what the test started; call it in `afterEach`. */
export async function killAll(): Promise<void> {
  for (const child of children) await kill({ child })
  children.clear()
}

/** Little to paint. */
const CHEAP = { reducedMotion: 'reduce', viewport: { width: 420, height: 600 } } as const

/** Pages in contexts of their own that wait for the next test: to open one takes longest. */
const idle: Page[] = []
const taken = new Set<Page>()

/** A user with a browser of their own, logged in and connected. */
export async function enter(
  browser: Browser,
  chat: Chat,
  name: string,
  room: string,
  options?: BrowserContextOptions,
): Promise<Page> {
  const page = (options ? undefined : idle.pop()) ?? (await openPage(browser, options))
  if (!options) taken.add(page)
  await enterIn(page, chat, name, room)
  return page
}

async function openPage(browser: Browser, options?: BrowserContextOptions): Promise<Page> {
  return (await browser.newContext({ ...CHEAP, ...options })).newPage()
}

/** All users go, and their browsers forget them; call it in `afterEach`. */
export async function leaveAll(browser: Browser): Promise<void> {
  for (const page of taken) if (!page.isClosed()) idle.push(page)
  taken.clear()
  for (const context of browser.contexts()) {
    const page = idle.find((one) => one.context() === context)
    if (page) await forget(page)
    else await context.close()
  }
}

async function forget(page: Page): Promise<void> {
  for (const tab of page.context().pages()) if (tab !== page) await tab.close()
  if (page.url() === 'about:blank') return
  await page.goto('about:blank')
  await page.context().clearCookies()
}

/** Log in without the form, which has tests of its own, and open a room. */
export async function enterIn(page: Page, chat: Chat, name: string, room: string): Promise<void> {
  const url = new URL('/login', chat.url).href
  await page.context().request.post(url, { form: { name, room }, maxRedirects: 0 })
  await page.goto(new URL(`/rooms/${room}`, chat.url).href)
  await connected(page)
}

/** Another tab of the same user. */
export async function openTab(page: Page, room: string): Promise<Page> {
  const tab = await page.context().newPage()
  await tab.goto(new URL(`/rooms/${room}`, page.url()).href)
  await connected(tab)
  return tab
}

/** A program with the login of a page. */
export async function connectAs(page: Page, chat: Chat, room: string): Promise<Client> {
  const [cookie] = await page.context().cookies()
  const client = new Client(`ws://127.0.0.1:${chat.port}/rooms/${room}/socket`, 'koaws.v1', {
    headers: { cookie: `token=${cookie?.value}` },
  })
  await once(client, 'open')
  return client
}

export async function connected(page: Page): Promise<void> {
  await page.getByRole('status').getByText('Connected', { exact: true }).waitFor()
}

export async function reconnecting(page: Page): Promise<void> {
  await page.getByRole('status').getByText('Reconnecting', { exact: true }).waitFor()
}

/** Choose whom messages are for. */
export async function choose(page: Page, name: string): Promise<void> {
  await page.getByLabel('To').selectOption({ label: name })
}

/** Write a message, and do not send it yet. */
export async function type(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).pressSequentially(text)
}

export async function say(page: Page, text: string): Promise<void> {
  const field = page.getByLabel('Message', { exact: true })
  await field.fill(text)
  await field.press('Enter')
}

/** Wait until a message is in the log, word for word, and the server has taken it. */
export async function heard(page: Page, text: string): Promise<void> {
  await page.locator('.message:has(time)').getByText(text, { exact: true }).waitFor()
}

/** What somebody said, and nothing else. */
export function said(page: Page): Promise<string[]> {
  return texts(page, '#log .text')
}

/** Who came and went. */
export function notices(page: Page): Promise<string[]> {
  return texts(page, '#log .notice')
}

export function texts(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents()
}

/** Text that an alert holds: a toast, or the error of the login. */
export async function alerted(page: Page, text: string): Promise<void> {
  await page.getByRole('alert').getByText(text).waitFor()
}
