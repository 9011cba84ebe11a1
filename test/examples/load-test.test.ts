import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { accept, messages } from '../../lib/index.ts'
import { cleanUp, serve } from '../support/server.ts'

const SCRIPT = fileURLToPath(new URL('../../examples/load-test.mjs', import.meta.url))

const echo = accept((connection) => {
  connection.on('message', (data) => connection.send(data.toString()))
})

describe('examples/load-test.mjs', () => {
  afterEach(cleanUp)

  async function run(...args: string[]): Promise<{ code: number; output: string; errors: string }> {
    const env = { ...process.env, NODE_OPTIONS: '' }
    const child = spawn(process.execPath, [SCRIPT, ...args], { env })
    const [output, errors, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    return { code, output, errors }
  }

  const few = ['--step', '5', '--rate', '40', '--seconds', '1']

  it('opens connections in steps, and measures the time to the answer of each message', async () => {
    const { port } = await serve((app) => app.use(echo))
    const { code, output } = await run(`ws://127.0.0.1:${port}/`, '--connections', '12', ...few)
    expect(output.match(/^open \d+ of 12/gm)).to.deep.equal([
      'open 5 of 12',
      'open 10 of 12',
      'open 12 of 12',
    ])
    expect(output).to.match(/^answered 40: p50 [\d.]+ ms, p99 [\d.]+ ms$/m)
    expect(output).to.match(/^received 40 messages\n.*\nfailed 0$/m)
    expect(code).to.equal(0)
  })

  it('counts a reply of koaws.v1 as an answer, and an error as a failure', async () => {
    const chat = messages().on('say', ({ id, throw: fail }) =>
      Number(id) % 2 ? { id } : fail(409),
    )
    const { port } = await serve((app) => app.use(accept(chat)))
    const v1 = ['--protocol', 'koaws.v1', '--message', '{"type":"say","id":{id}}']
    const { code, output } = await run(
      `ws://127.0.0.1:${port}/`,
      '--connections',
      '4',
      ...few,
      ...v1,
    )
    expect(output)
      .to.match(/^answered 20:/m)
      .and.to.match(/^failed 20: answered with /m)
    expect(code).to.equal(1)
  })

  it('counts rejected connections, and sends the given headers', async () => {
    const { port } = await serve((app) => {
      app.use((ctx, next) => (ctx.get('x-key') === 'ok' ? next() : ctx.throw(401)))
      app.use(echo)
    })
    const url = `ws://127.0.0.1:${port}/`
    const without = await run(url, '--connections', '3', ...few)
    expect(without.output).to.include('failed 3: Unexpected server response: 401')
    expect(without.code).to.equal(1)
    const with_ = await run(url, '--connections', '3', '--header', 'x-key: ok', ...few)
    expect(with_.output).to.match(/^failed 0$/m)
  })

  it('counts connections that the server closes, and messages without an answer', async () => {
    const { port } = await serve((app) => {
      app.use(accept((connection) => connection.once('message', () => connection.close(4000))))
    })
    const { code, output } = await run(
      `ws://127.0.0.1:${port}/`,
      '--connections',
      '2',
      '--patience',
      '500',
      ...few,
    )
    expect(output)
      .to.match(/^failed 2: closed with 4000$/m)
      .and.to.match(/: no answer$/m)
    expect(code).to.equal(1)
  })

  it('rejects a server on another machine, and invalid option values', async () => {
    for (const [args, said] of [
      [['ws://example.com/'], 'example.com is not this machine'],
      [['--connections', '20001'], '--connections is a whole number from 1 to 20000'],
      [['--message', 'hi'], '--message needs an {id}'],
      [['--bogus'], "Unknown option '--bogus'"],
    ] as const) {
      const { code, errors } = await run(...args)
      expect(errors).to.include(said)
      expect(code).to.equal(2)
    }
  })
})
