/// <reference lib="dom" />
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { WebSocket as Client } from 'ws'

const SERVER = fileURLToPath(new URL('../../../examples/chat/server.mjs', import.meta.url))
const children = new Set<ChildProcess>()

/** The example in a separate process. */
export interface Chat {
  child: ChildProcess
  url: string
  port: number
}

/** The address of the example, or of a proxy in front of it. */
export type Site = Pick<Chat, 'url'>

export interface ChatOptions {
  port?: number
  secret?: string
  /** The result of `Math.random()` in the process, for example for the delay after a shutdown. */
  random?: number
  /** The time between two words of the assistant, in milliseconds. */
  pause?: number
}

/** Starts the example, and waits for the line with its URL. */
export async function startChat({
  port = 0,
  secret = 'a secret',
  random,
  pause = 40,
}: ChatOptions = {}): Promise<Chat> {
  const chance =
    random === undefined
      ? []
      : ['--import', `data:text/javascript,Math.random = () => ${random}`.replaceAll(' ', '%20')]
  const child = spawn(process.execPath, [...chance, SERVER], {
    env: { ...process.env, PORT: String(port), SECRET: secret, TOKEN_PAUSE: String(pause) },
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

/** Kills a process like a crash. */
export async function kill({ child }: Pick<Chat, 'child'>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** Kills the processes of a test. Called in `afterEach`. */
export async function killAll(): Promise<void> {
  for (const child of children) await kill({ child })
  children.clear()
}

/** Cheap to paint. */
const CHEAP = { reducedMotion: 'reduce', viewport: { width: 420, height: 600 } } as const

/** Pages with their own contexts, reused by later tests: opening a page takes longest. */
const idle: Page[] = []
const taken = new Set<Page>()

/** Opens a page with its own context, logged in and connected. */
export async function enter(
  browser: Browser,
  chat: Site,
  name: string,
  room: string,
  options?: BrowserContextOptions,
): Promise<Page> {
  const page = (options ? undefined : takeIdle(browser)) ?? (await openPage(browser, options))
  if (!options) taken.add(page)
  await enterIn(page, chat, name, room)
  return page
}

/** Takes an idle page of this browser: other files of the same process have browsers of their own. */
function takeIdle(browser: Browser): Page | undefined {
  const index = idle.findIndex((page) => page.context().browser() === browser)
  return index < 0 ? undefined : idle.splice(index, 1)[0]
}

async function openPage(browser: Browser, options?: BrowserContextOptions): Promise<Page> {
  return (await browser.newContext({ ...CHEAP, ...options })).newPage()
}

/** Logs out all users, and clears their contexts. Called in `afterEach`. */
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

/** Logs in without the form, which has its own tests, and opens a room. */
export async function enterIn(page: Page, chat: Site, name: string, room: string): Promise<void> {
  const url = new URL('/login', chat.url).href
  await page.context().request.post(url, { form: { name, room }, maxRedirects: 0 })
  await page.goto(new URL(`/rooms/${room}`, chat.url).href)
  await connected(page)
}

/** Opens another tab of the same user. */
export async function openTab(page: Page, room: string): Promise<Page> {
  const tab = await page.context().newPage()
  await tab.goto(new URL(`/rooms/${room}`, page.url()).href)
  await connected(tab)
  return tab
}

/** Connects a WebSocket client with the login of a page. */
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

/** Chooses the receiver of messages. */
export async function choose(page: Page, name: string): Promise<void> {
  await page.getByLabel('To').selectOption({ label: name })
}

/** Types a message without sending it. */
export async function type(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).pressSequentially(text)
}

export async function say(page: Page, text: string): Promise<void> {
  const field = page.getByLabel('Message', { exact: true })
  await field.fill(text)
  await field.press('Enter')
}

/** Waits until a message is in the log, word for word, and acknowledged by the server. */
export async function heard(page: Page, text: string): Promise<void> {
  await page.locator('.message:has(time)').getByText(text, { exact: true }).waitFor()
}

/** Returns the texts of all messages in the log. */
export function said(page: Page): Promise<string[]> {
  return texts(page, '#log .text')
}

/** Returns the messages in the log, and the lines about missed ones, in order. */
export function logOf(page: Page): Promise<string[]> {
  return texts(page, '#log :is(.text, .missed)')
}

/** Returns the notices about people that joined and left. */
export function notices(page: Page): Promise<string[]> {
  return texts(page, '#log .notice')
}

export function texts(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents()
}

/** Waits for a text in an alert: a toast, or the error of the login. */
export async function alerted(page: Page, text: string): Promise<void> {
  await page.getByRole('alert').getByText(text).waitFor()
}
