/// <reference lib="dom" />
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { json, text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { type Client, connect } from '../../lib/client/index.ts'
import type { ProtocolDefinition } from '../../lib/protocol/definition.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'

const file = (name: string): string =>
  fileURLToPath(new URL(`../../examples/llm/${name}`, import.meta.url))
const PROMPT = 'What is a stream?'

type Generate = (
  prompt: string,
  options?: { begun?: string; signal?: AbortSignal; pause?: number },
) => AsyncIterable<string>

describe('examples/llm', () => {
  const children = new Set<ChildProcess>()
  const stops: (() => void)[] = []
  let generate: Generate

  before(async () => {
    ;({ generate } = await import(file('model.mjs')))
  })

  afterEach(async () => {
    for (const stop of stops.splice(0)) stop()
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    children.clear()
  })

  function run(name: string, env: Record<string, string>, ...args: string[]): ChildProcess {
    const child = spawn(process.execPath, [file(name), ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.add(child)
    return child
  }

  /** Starts the server. Returns its URL. */
  async function start(env: Record<string, string> = {}): Promise<URL> {
    const { stdout } = run('server.mjs', { PORT: '0', TOKEN_PAUSE: '1', ...env })
    for await (const line of createInterface({ input: stdout as NodeJS.ReadableStream })) {
      return new URL(/http:\S+/.exec(line)?.[0] as string)
    }
    throw new Error('it ended')
  }

  function connectTo(url: URL): Client<ProtocolDefinition> {
    const client = connect(`ws://${url.host}/socket`, { WebSocket })
    stops.push(() => client.close())
    return client
  }

  describe('model.mjs', () => {
    it('gives the same answer to the same prompt, and goes on from a beginning', async () => {
      const whole = await answerOf(generate(PROMPT, { pause: 0 }))
      expect(await answerOf(generate(PROMPT, { pause: 0 }))).to.equal(whole)
      expect(await answerOf(generate('Another one', { pause: 0 }))).to.not.equal(whole)
      for (const length of [1, 40, whole.length]) {
        const begun = whole.slice(0, length)
        expect(begun + (await answerOf(generate(PROMPT, { begun, pause: 0 })))).to.equal(whole)
      }
    })

    it('ends with its signal', async () => {
      const { signal, abort } = controller()
      const tokens = generate(PROMPT, { signal, pause: 60_000 })[Symbol.asyncIterator]()
      const token = tokens.next()
      abort()
      expect(await token.catch(({ name }: Error) => name)).to.equal('AbortError')
    })
  })

  describe('ask.mjs', () => {
    it('prints the answer', async () => {
      const { port } = await start()
      const { stdout } = run('ask.mjs', { PORT: port }, ...PROMPT.split(' '))
      const whole = await answerOf(generate(PROMPT, { pause: 0 }))
      expect(await text(stdout as NodeJS.ReadableStream))
        .to.match(/\n\d+ tokens\n$/)
        .and.to.satisfy((output: string) => output.startsWith(`${whole}\n`))
    })

    it('stops on Ctrl-C', async () => {
      const { port } = await start({ TOKEN_PAUSE: '200' })
      const child = run('ask.mjs', { PORT: port }, 'Hi')
      const output = text(child.stdout as NodeJS.ReadableStream)
      await once(child.stdout as NodeJS.ReadableStream, 'data')
      child.kill('SIGINT')
      expect(await once(child, 'exit')).to.deep.equal([0, null])
      expect(await output).to.match(/\nstopped\n$/)
    })
  })

  describe('index.html', () => {
    needs('chromium')

    it('shows the answer, and stops the next one', async () => {
      const url = await start({ TOKEN_PAUSE: '20' })
      const browser = await launchChromium()
      stops.push(() => void browser.close())
      const page = await browser.newPage()
      await page.goto(url.href)
      await page.getByLabel('Prompt').fill(PROMPT)
      await page.keyboard.press('Enter')
      await page
        .getByRole('status')
        .getByText(/^\d+ tokens$/)
        .waitFor()
      const whole = await answerOf(generate(PROMPT, { pause: 0 }))
      expect(await page.locator('#answer').textContent()).to.equal(whole)
      expect(await page.evaluate(() => document.activeElement?.id)).to.equal('prompt')

      await page.keyboard.press('Enter')
      await page.waitForFunction(() => document.querySelector('#answer')?.textContent !== '')
      await page.getByRole('button', { name: 'Stop' }).click()
      await page.getByRole('status').getByText('Stopped').waitFor()
      const part = await page.locator('#answer').textContent()
      expect(part).to.have.length.below(whole.length)
    })
  })

  describe('openai.mjs', () => {
    /** Starts a server with the API of OpenAI. Its answer does not end by itself. */
    async function startModel(): Promise<{
      url: string
      asked: unknown[]
      left: Promise<unknown>
    }> {
      const asked: unknown[] = []
      let leave: (value?: unknown) => void
      const left = new Promise((resolve) => {
        leave = resolve
      })
      const server = createServer(async (request: IncomingMessage, response) => {
        asked.push({ path: request.url, ...((await json(request)) as object) })
        response.on('close', leave)
        response.writeHead(200, { 'Content-Type': 'text/event-stream' })
        const parts = [
          '{"choices":[{"delta":{"role":"assistant"}}]}',
          deltaOf('Hel'),
          deltaOf('lö'),
        ]
        const lines = parts.map((part) => `data: ${part}\n\n`).join('')
        const bytes = Buffer.from(lines)
        response.write(bytes.subarray(0, -8)) // in the middle of a line
        setImmediate(() => response.write(bytes.subarray(-8)))
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      stops.push(() => {
        server.closeAllConnections()
        server.close()
      })
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked, left }
    }

    it('streams the tokens of a real model, and a cancel ends its response', async () => {
      const model = await startModel()
      const client = connectTo(await start({ MODEL_URL: model.url, MODEL_NAME: 'small' }))
      const tokens: string[] = []
      for await (const item of client.stream('ask', { prompt: PROMPT, begun: 'Oh. ' })) {
        if (tokens.push((item as { token: string }).token) === 2) break
      }
      expect(tokens).to.deep.equal(['Hel', 'lö'])
      await model.left
      expect(model.asked).to.deep.equal([
        {
          path: '/v1/chat/completions',
          model: 'small',
          stream: true,
          messages: [
            { role: 'user', content: PROMPT },
            { role: 'assistant', content: 'Oh. ' },
          ],
        },
      ])
    })
  })
})

const deltaOf = (content: string): string => JSON.stringify({ choices: [{ delta: { content } }] })

async function answerOf(tokens: AsyncIterable<string>): Promise<string> {
  let answer = ''
  for await (const token of tokens) answer += token
  return answer
}

function controller(): { signal: AbortSignal; abort(): void } {
  const made = new AbortController()
  return { signal: made.signal, abort: () => made.abort() }
}
