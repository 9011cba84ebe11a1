import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Seen } from '../support/mistakes-server.ts'

const PROGRAM = fileURLToPath(new URL('../support/mistakes-server.ts', import.meta.url))

interface Outcome {
  /** The result of each app, by the name of its mistake. */
  readonly seen: ReadonlyMap<string, Seen>
  /** Apps that were running when the process ended. */
  readonly unfinished: ReadonlySet<string>
  readonly code: number
  readonly stderr: string
}

/** Runs the apps of `test/support/mistakes-server.ts` in a separate process. */
async function runApps(which: 'mistakes' | 'hostile', subscribes = false): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import=tsx', PROGRAM, which], {
    env: { ...process.env, NODE_NO_WARNINGS: '1', SUBSCRIBE: subscribes ? '1' : '0' },
  })
  const seen = new Map<string, Seen>()
  const unfinished = new Set<string>()
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, what, name, json] = /^(begin|end) (.*?)(?: (\{.*\}))?$/.exec(line) ?? []
    if (what === 'begin') unfinished.add(name as string)
    if (what !== 'end') return
    unfinished.delete(name as string)
    seen.set(name as string, JSON.parse(json as string))
  })
  const [code] = (await once(child, 'close')) as [number]
  return { seen, unfinished, code, stderr }
}

describe('the process survives', function () {
  this.timeout(120_000)

  describe('ordinary mistakes of an application', () => {
    let outcome: Outcome
    before(async () => {
      outcome = await runApps('mistakes')
    })

    it('of every kind in test/support/mistakes-server.ts', () => {
      const { code, unfinished, stderr } = outcome
      expect([code, [...unfinished], stderr.slice(0, 2_000)]).to.deep.equal([0, [], ''])
    })

    /** The status that the client gets, and the error that the app emits. */
    const table: Record<string, [status: number, error: string | null]> = {
      'forgotten await, then accept() behind an async step': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in an async function': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await, then await ctx.ws()': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in front of the plugin': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in front of the plugin, await ctx.ws()': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in front of the plugin, and the chain throws': [404, 'a mistake'],
      'forgotten await in front of the plugin and behind it': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in koa-compose, nested': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await in front of hub.route()': [404, 'ERR_KOAWS_RESPONDED'],
      'forgotten await, wrong options': [404, 'ERR_KOAWS_OPTIONS'],
      'forgotten await, a subprotocol that is not spoken': [404, 'ERR_KOAWS_RESPONDED'],
      'ctx.respond = false with accept(handler)': [500, 'ERR_KOAWS_RESPOND_FALSE'],
      'ctx.respond = false, a subprotocol that is not spoken, in a timer': [
        400,
        'ERR_KOAWS_SUBPROTOCOL',
      ],
      'ctx.respond = false, an option that throws, in a later turn': [500, 'a mistake'],
      'next() twice': [500, 'next() called multiple times'],
      'ctx.ws(handler) twice': [500, 'ERR_KOAWS_ALREADY_ACCEPTED'],
      'the chain throws, and app.on(error) throws too': [500, 'a mistake'],
      'a 401 of the chain, and app.on(error) throws too': [401, 'Unauthorized'],
      'the chain throws a frozen error': [500, 'frozen'],
      'writes to ctx.res after the end': [200, null],
    }
    for (const [name, [status, error]] of Object.entries(table)) {
      for (const which of ['', ', first upgrade']) {
        it(`${name}${which}: ${status}${error ? `, and the app emits ${error} once` : ''}`, () => {
          expect(outcome.seen.get(name + which)).to.deep.equal({
            status,
            errors: error === null ? [] : [error],
          })
        })
      }
    }

    for (const name of [
      'ctx.respond = false, the client leaves, await ctx.ws() in a later turn',
      'ctx.respond = false, the client leaves, ctx.ws(handler) in a timer',
    ]) {
      it(`${name}: the app emits one error`, () => {
        // Koa itself emits ECONNRESET for the response that was reset.
        const errors = outcome.seen.get(name)?.errors.filter((code) => code !== 'ECONNRESET')
        expect(errors).to.deep.equal(['ERR_KOAWS_CLIENT_GONE'])
      })
    }
  })

  for (const [title, subscribes] of [
    [
      'hostile values, thrown, rejected and returned in every place that takes a value of the application',
      false,
    ],
    ['the same with a subscriber on each channel of diagnostics', true],
  ] as const) {
    it(title, async () => {
      const { code, unfinished, stderr, seen } = await runApps('hostile', subscribes)
      expect([code, [...unfinished], stderr.slice(0, 2_000)]).to.deep.equal([0, [], ''])
      expect(seen.size).to.be.above(900)
    })
  }
})
