import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { z } from 'zod'
import { asyncapi } from '../../../lib/asyncapi/index.ts'
import { type ProtocolDefinition, protocol } from '../../../lib/index.ts'
import { run } from '../support/run.ts'

describe('koaws contract', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-contract-'))
    const write = (name: string, definition: ProtocolDefinition): void =>
      writeFileSync(
        join(folder, name),
        JSON.stringify(asyncapi(protocol(definition), { info: { title: 'x', version: '1' } })),
      )
    write('one.json', { say: { data: z.object({ text: z.string() }) }, gone: {} })
    write('two.json', { say: { data: z.object({ text: z.string(), room: z.string() }) } })
    write('a.json', { say: { data: z.string().regex(/a/) } })
    write('b.json', { say: { data: z.string().regex(/b/) } })
    writeFileSync(join(folder, 'broken.json'), '{')
    writeFileSync(join(folder, 'other.json'), '{"asyncapi":"2.6.0"}')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  async function check(...args: string[]): Promise<{ code: number; text: string }> {
    const files = args.map((one) => (one.endsWith('.json') ? join(folder, one) : one))
    const { code, out, err } = await run(['contract', ...files])
    const text = code === 2 ? err : out
    return { code, text: text.replaceAll(`${folder}/`, '') }
  }

  it('prints each breaking change as a sentence with its place, and exits with 1', async () => {
    expect(await check('check', 'one.json', 'two.json')).to.deep.equal({
      code: 1,
      text: [
        'breaking  "say": Clients must now send the field "room".',
        '          /components/schemas/say.data',
        'breaking  "gone": The type was removed: the server no longer accepts it.',
        '          /operations/gone',
        '2 breaking changes.',
        '',
      ].join('\n'),
    })
  })

  it('exits with 0 where clients keep working', async () => {
    for (const files of [
      ['one.json', 'one.json'],
      ['a.json', 'a.json'],
    ])
      expect(await check('check', ...files)).to.deep.equal({
        code: 0,
        text: 'No breaking change.\n',
      })
  })

  it('exits with 1 for a change that it cannot judge', async () => {
    const { code, text } = await check('check', 'a.json', 'b.json')
    expect(code).to.equal(1)
    expect(text).to.match(
      /^unclear {3}"say": The rule "pattern" differs.*\n.*\n0 breaking changes, 1 change to check by hand\.\n$/,
    )
  })

  it('prints JSON with --json, in any place', async () => {
    for (const args of [
      ['check', 'one.json', 'two.json', '--json'],
      ['--json', 'check', 'one.json', 'two.json'],
    ]) {
      const { code, text } = await check(...args)
      expect(code).to.equal(1)
      expect(JSON.parse(text)[0]).to.deep.equal({
        kind: 'breaking',
        pointer: '/components/schemas/say.data',
        type: 'say',
        message: 'Clients must now send the field "room".',
      })
    }
    expect(await check('check', 'one.json', 'one.json', '--json')).to.deep.equal({
      code: 0,
      text: '[]\n',
    })
  })

  it('exits with 2, and says what to do, for wrong arguments', async () => {
    for (const [args, problem] of [
      [[], 'A command is missing.'],
      [['compare', 'one.json', 'two.json'], 'There is no "compare".'],
      [['check', 'one.json'], '"check" takes two files'],
      [['check', 'one.json', 'two.json', 'a.json'], '"check" takes two files'],
      [['check', 'one.json', 'two.json', '--yaml'], '--yaml'],
    ] as const) {
      const { code, text } = await check(...args)
      expect(code).to.equal(2)
      expect(text).to.include(problem).and.include('npx koaws contract --help')
    }
    expect((await check('--help')).text).to.match(/^Usage: npx koaws contract check/)
  })

  it('exits with 2 for a file that is absent, broken or of another version', async () => {
    for (const [file, problem] of [
      ['absent.json', 'absent.json cannot be read: '],
      ['broken.json', 'broken.json is not JSON.'],
      ['other.json', 'The new document is not AsyncAPI 3'],
    ] as const) {
      const { code, text } = await check('check', 'one.json', file)
      expect(code).to.equal(2)
      expect(text).to.include(problem)
    }
  })
})
