// Compares each list of names in docs/stability.md with the code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import * as cluster from '../../lib/adapters/cluster/index.ts'
import * as redis from '../../lib/adapters/redis/index.ts'
import * as asyncapi from '../../lib/asyncapi/index.ts'
import * as client from '../../lib/client/index.ts'
import * as streams from '../../lib/client/streams.ts'
import { channels } from '../../lib/diagnostics.ts'
import * as koaws from '../../lib/index.ts'
import * as inspector from '../../lib/inspector/index.ts'
import * as otel from '../../lib/otel/index.ts'
import * as prometheus from '../../lib/prometheus/index.ts'
import * as testing from '../../lib/testing/index.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'docs/stability.md'), 'utf8')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const source = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join(root, 'lib', name), 'utf8'))
  .join('\n')

describe('docs/stability.md', () => {
  it('names the entry points of package.json', () => {
    const named = [...page.matchAll(/^\| `(koaws[\w/]*)` \|/gm)].map(([, name]) => name as string)
    const real = Object.keys(manifest.exports)
      .filter((name) => name !== './package.json')
      .map((name) => name.replace('.', 'koaws'))
    expect(named).to.deep.equal(real)
  })

  for (const [name, module] of Object.entries({
    koaws,
    'koaws/client': client,
    'koaws/client/streams': streams,
    'koaws/redis': redis,
    'koaws/cluster': cluster,
    'koaws/otel': otel,
    'koaws/prometheus': prometheus,
    'koaws/inspector': inspector,
    'koaws/testing': testing,
    'koaws/asyncapi': asyncapi,
  })) {
    it(`names each value that ${name} exports`, () => {
      const real = Object.keys(module).filter((key) => key !== 'module.exports')
      expect(namesIn(lineWith(`| \`${name}\` |`)).slice(1)).to.have.members(real)
    })
  }

  it('names each value of CloseCode', () => {
    const named = namesIn(lineWith('values of `CloseCode`'))
    expect(named.filter((name) => /^\d+$/.test(name)).map(Number)).to.have.members(
      Object.values(koaws.CloseCode),
    )
  })

  it('names each diagnostics channel', () => {
    const named = namesIn(lineWith('channels of `node:diagnostics_channel`'))
    expect(named.filter((name) => name.startsWith('koaws:'))).to.have.members(
      Object.values(channels).map(({ name }) => name),
    )
  })

  it('names each code of a process warning', () => {
    const real = new Set([...source.matchAll(/'(KOAWS_[A-Z_]+)'/g)].map(([, code]) => code))
    expect(namesIn(lineWith('codes of process warnings'))).to.have.members([...real])
  })

  it('names exactly the counters of the code', () => {
    const rows = ['upgrades', 'connections', 'messages', 'instances']
    const named = rows.flatMap((row) => namesIn(lineWith(`| ${row} | `)))
    const unions = [
      ...source.matchAll(/^export type (?:DropReason|MessageDrop|StreamDrop) =\n(.*?)\n\n/gms),
    ]
    const ofTypes = unions.flatMap(([, text]) => quotedIn(/^ {2}\| '(\w+)'/gm, text as string))
    expect(ofTypes).to.have.length.above(20)
    const counted = quotedIn(/\b(?:count|drops\.add)\('(\w+)'/g, source)
    expect(named).to.include.members([...ofTypes, ...counted])
    for (const name of named) expect(source, name).to.include(`'${name}'`)
  })

  it('names the version ranges of package.json', () => {
    const { engines, peerDependencies, dependencies } = manifest
    const plain = page.replaceAll('\\|', '|')
    for (const [name, range] of [
      ['Node', engines.node],
      ['Koa', peerDependencies.koa],
      ['`ws`', dependencies.ws],
      ['node-redis', peerDependencies.redis],
      ['ioredis', peerDependencies.ioredis],
    ])
      expect(plain).to.include(`| ${name} | \`${range}\` |`)
  })
})

function lineWith(part: string): string {
  const line = page.split('\n').find((one) => one.includes(part))
  if (!line) throw new Error(`docs/stability.md has no line with ${part}`)
  return line
}

/** Returns the texts in backticks. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name as string)
}

function quotedIn(pattern: RegExp, text: string): string[] {
  return [...text.matchAll(pattern)].map(([, name]) => name as string)
}
