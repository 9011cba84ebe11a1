import { readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import {
  closeSocket,
  destroyClients,
  echo,
  type HttpAnswer,
  openSocket,
  plainGet,
  rawUpgrade,
} from './support/client.ts'
import { entries } from './support/entries.ts'
import type { Answer, Entry, Headers, Host, Place } from './support/entry.ts'
import { serveInstrumented, stopChildren } from './support/instrumented-host.ts'
import { STREAMED_BYTES, serve } from './support/serve.ts'

/** The cases of every middleware, before and after the plugin. */
const CASES = [
  'accept',
  'accept inside',
  'rejection',
  'streamed rejection',
  '404',
  'plain GET',
] as const
type Case = (typeof CASES)[number] | 'special'

/** A case has passed when all tests that started have passed. */
interface Outcome {
  started: number
  passed: number
}

/** The input of scripts/compatibility.ts. */
interface Result {
  readonly name: string
  readonly variant: string | undefined
  readonly version: string
  readonly tier: number
  readonly note: string | undefined
  /** Headers of the 101 that are missing without the middleware. */
  headers: string[]
  readonly before: Partial<Record<Case, Outcome>>
  readonly after: Partial<Record<Case, Outcome>>
}

const WHERE: Record<Place, string> = {
  before: 'before the plugin',
  after: 'after the plugin',
  without: 'without the plugin',
}

/**
 * koaws takes the first upgrade of a server over from Node; later upgrades arrive at its
 * listener.
 */
const ROUNDS = ['the first upgrade of the server', 'a later upgrade']

/** Headers that differ in each answer: only their presence is compared. */
const CHANGING = ['date', 'x-response-time', 'request-id', 'set-cookie', 'x-ratelimit-reset']

describe('compatibility with Koa middleware', () => {
  const results = entries.map(newResult)

  afterEach(destroyClients)

  after(async () => {
    await stopChildren()
    const path = process.env['KOAWS_COMPATIBILITY']
    if (path) writeFileSync(path, JSON.stringify(results, null, 2))
  })

  for (const [index, entry] of entries.entries()) {
    const result = results[index] as Result
    describe(titleOf(entry), () => {
      for (const place of ['before', 'after'] as const) describeAt(entry, place, result)
    })
  }
})

function describeAt(entry: Entry, place: 'before' | 'after', result: Result): void {
  const outcomes = result[place]
  const test = (
    name: Case,
    title: string,
    run: (host: Host, headers: Headers) => Promise<void>,
  ) => {
    it(`${WHERE[place]}: ${title}`, async () => {
      const outcome = outcomes[name] ?? { started: 0, passed: 0 }
      outcomes[name] = outcome
      outcome.started++
      await withHost(entry, place, run)
      outcome.passed++
    })
  }
  const prefix = entry.prefix ?? ''

  test('accept', `accept(handler) opens and echoes${carried(entry)}`, async (host, headers) => {
    for (const round of ROUNDS) {
      const opened = await openSocket(host.port, `${prefix}/accept`, headers)
      if (place === 'before') result.headers = addedHeaders(Object.keys(opened.headers))
      expect(await echo(opened, round)).to.equal(round)
      for (const [name, pattern] of Object.entries(entry.on101 ?? {})) {
        expect(String(opened.headers[name]), `${name} of ${round}`).to.match(pattern)
      }
      expect(await closeSocket(opened)).to.equal(1000)
    }
    for (const pattern of entry.prints ?? []) await host.seen(pattern)
    expectNoErrors(host)
  })

  test('accept inside', 'await ctx.ws() opens and echoes', async (host, headers) => {
    for (const round of ROUNDS) {
      const opened = await openSocket(host.port, `${prefix}/inside`, headers)
      expect(await echo(opened, round)).to.equal(round)
      expect(await closeSocket(opened)).to.equal(1000)
    }
    expectNoErrors(host)
  })

  test('rejection', 'ctx.throw(401) arrives complete', async (host, headers) => {
    for (const round of ROUNDS) {
      const answer = await rawUpgrade(host.port, `${prefix}/rejected`, headers)
      expectAnswer(answer, 401, entry.rejected, /^no entry$/, round)
    }
  })

  test('streamed rejection', 'a streamed body of 1 MiB arrives complete', async (host, headers) => {
    for (const round of ROUNDS) {
      const answer = await rawUpgrade(host.port, `${prefix}/streamed`, headers)
      expectAnswer(answer, 403, entry.streamed, null, round)
      expect(answer.body.length, round).to.equal(STREAMED_BYTES)
    }
  })

  test('404', 'an unknown path gets 404', async (host, headers) => {
    for (const round of ROUNDS) {
      const answer = await rawUpgrade(host.port, `${prefix}/nowhere`, headers)
      // The upgrade does not reach a plugin inside of routes, and stays an ordinary request.
      const reached = !(entry.routed && place === 'before')
      expectAnswer(answer, 404, entry.notFound, /^Not Found$/, round, reached)
    }
  })

  test('plain GET', 'a plain GET is answered as without koaws', async (host, headers) => {
    const answer = await plainGet(host.port, `${prefix}/plain`, headers)
    expect(answer.status).to.equal(200)
    await withHost(entry, 'without', async (bare, bareHeaders) => {
      const expected = await plainGet(bare.port, `${prefix}/plain`, bareHeaders)
      expect(comparable(answer, host)).to.deep.equal(comparable(expected, bare))
    })
  })

  for (const { title, run } of entry.specials ?? []) {
    test('special', title, (host, headers) => run(host, headers, place))
  }
}

async function withHost(
  entry: Entry,
  place: Place,
  run: (host: Host, headers: Headers) => Promise<void>,
): Promise<void> {
  const host = await (entry.instrumented ? serveInstrumented : serve)(entry, place)
  try {
    const { headers = {} } = entry
    await run(host, typeof headers === 'function' ? await headers(host) : headers)
  } finally {
    destroyClients()
    await host.stop()
  }
}

function expectAnswer(
  { status, headers, body }: HttpAnswer,
  expected: number,
  own: Answer | undefined,
  ordinary: RegExp | null,
  round: string,
  reached = true,
): void {
  expect(status, round).to.equal(expected)
  if (reached) expect(headers['connection'], round).to.equal('close')
  for (const [name, pattern] of Object.entries(own?.headers ?? {})) {
    expect(headers[name], `${name} of ${round}`).to.match(pattern)
  }
  const pattern = own?.body ?? ordinary
  if (pattern) expect(String(body), round).to.match(pattern)
}

function expectNoErrors({ lines }: Host): void {
  expect(lines.filter((line) => line.startsWith('app error'))).to.deep.equal([])
}

/** An answer without the parts that differ each time: times, ids, and the port in an origin. */
function comparable(
  { status, headers, body }: Awaited<ReturnType<typeof plainGet>>,
  { port }: Host,
): object {
  const kept = Object.entries(headers).map(([name, value]) => [
    name,
    CHANGING.includes(name) ? 'present' : String(value).replaceAll(String(port), 'port'),
  ])
  return { status, headers: Object.fromEntries(kept), body }
}

const OF_EVERY_101 = ['upgrade', 'connection', 'sec-websocket-accept']

function addedHeaders(names: string[]): string[] {
  return names.filter((name) => !OF_EVERY_101.includes(name)).sort()
}

function carried({ on101, prints }: Entry): string {
  const names = Object.keys(on101 ?? {})
  const printed = prints ? ', and it prints the 101' : ''
  return names.length > 0 ? `, the 101 carries ${names.join(', ')}${printed}` : printed
}

function titleOf({ name, variant }: Entry): string {
  return variant ? `${name} (${variant})` : name
}

function newResult({ name, variant, tier, note }: Entry): Result {
  return { name, variant, version: versionOf(name), tier, note, headers: [], before: {}, after: {} }
}

function versionOf(name: string): string {
  for (const home of ['../peers/node_modules', '../../node_modules']) {
    try {
      const file = new URL(`${home}/${name}/package.json`, import.meta.url)
      return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
    } catch {
      // The other folder has it.
    }
  }
  throw new Error(`${name} is not installed`)
}
