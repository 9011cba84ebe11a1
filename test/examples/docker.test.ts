// The Dockerfile of examples/docker without a Docker engine: the test checks its instructions,
// copies its files, and runs its command and health check.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { startRedis, stopRedis } from '../support/redis.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const EXAMPLE = join(ROOT, 'examples/docker')

/** The instructions of Docker's "Dockerfile reference" that an app needs. */
const KNOWN = ['CMD', 'COPY', 'ENV', 'EXPOSE', 'FROM', 'HEALTHCHECK', 'RUN', 'USER', 'WORKDIR']

interface Instruction {
  readonly name: string
  readonly rest: string
}

const read = (name: string): string => readFileSync(join(EXAMPLE, name), 'utf8')
const instructions = parse(read('Dockerfile'))

describe('the Dockerfile', () => {
  it('has only known instructions, with FROM first and CMD last', () => {
    const names = instructions.map(({ name }) => name)
    for (const name of names) expect(KNOWN).to.include(name)
    expect([names[0], names.at(-1)]).to.deep.equal(['FROM', 'CMD'])
    expect(names.filter((name) => name === 'CMD')).to.have.lengthOf(1)
  })

  it('builds on a numbered, supported Node line', () => {
    const [, line] = /^node:(\d+)-slim$/.exec(restOf('FROM')) ?? []
    const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(Number(line)).to.be.at.least(Number(/>=(\d+)$/.exec(engines.node)?.[1]))
  })

  it('copies files that exist, dependencies before sources', () => {
    const copied = instructions
      .filter(({ name }) => name === 'COPY')
      .map(({ rest }) => sources(rest))
    for (const files of copied) expect(files).to.not.deep.equal([])
    expect(copied.flat()).to.deep.equal(['package.json', 'server.mjs'])
  })

  it('runs node directly, as a user other than root, with NODE_ENV=production', () => {
    const names = instructions.map(({ name }) => name)
    expect(restOf('USER')).to.equal('node')
    expect(names.indexOf('USER')).to.be.above(names.lastIndexOf('RUN'))
    expect(words(restOf('CMD'))[0]).to.equal('node')
    expect(restOf('ENV')).to.equal('NODE_ENV=production')
  })

  it('installs each package that the app imports', () => {
    const { dependencies } = JSON.parse(read('package.json'))
    const imported = [...read('server.mjs').matchAll(/ from '((?:@[\w-]+\/)?[\w-]+)/g)]
    expect(Object.keys(dependencies)).to.have.members([
      ...new Set(imported.map(([, name]) => name)),
    ])
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(dependencies.koaws).to.equal(`^${version}`)
  })

  it('is quoted unchanged in the guide, with the compose file and the app', () => {
    const guide = readFileSync(join(ROOT, 'docs/guides/docker.md'), 'utf8')
    for (const name of ['Dockerfile', 'compose.yaml', 'server.mjs'])
      expect(guide, name).to.include(read(name))
  })
})

describe('the compose file', () => {
  it('sets a grace period above the timeout of closeOnSignal()', () => {
    const [, grace] = /stop_grace_period: (\d+)s/.exec(read('compose.yaml')) ?? []
    const [, timeout] = /closeOnSignal\(\{ timeout: ([\d_]+) \}\)/.exec(read('server.mjs')) ?? []
    expect(Number(grace) * 1000).to.be.above(Number((timeout as string).replace('_', '')))
  })

  it('publishes the port of the app on loopback, and no port of Redis', () => {
    const ports = [...read('compose.yaml').matchAll(/^ {6}- "([\d.]+:\d+:(\d+))"$/gm)]
    expect(ports.map(([, port]) => port)).to.deep.equal([`127.0.0.1:3000:${restOf('EXPOSE')}`])
  })
})

describe('the container', () => {
  needs('redis-server')
  let folder: string
  let child: ChildProcess | null = null

  before(() => {
    // Below the root, so that its packages are found; koaws is the built package, as npm would
    // install it.
    folder = mkdtempSync(join(ROOT, 'test/.samples-docker-'))
    for (const { name, rest } of instructions)
      if (name === 'COPY')
        for (const file of sources(rest)) cpSync(join(EXAMPLE, file), join(folder, file))
    const koaws = join(folder, 'node_modules/koaws')
    mkdirSync(koaws, { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(koaws, 'package.json'))
    cpSync(join(ROOT, 'dist'), join(koaws, 'dist'), { recursive: true })
  })

  after(async () => {
    if (child && child.exitCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await stopRedis()
    rmSync(folder, { recursive: true, force: true })
  })

  it('starts with its CMD, becomes healthy, serves a room, and exits with 0 after SIGTERM', async () => {
    const redis = await startRedis()
    const port = await freePort()
    const env = {
      ...process.env,
      NODE_OPTIONS: '',
      NODE_ENV: 'production',
      PORT: String(port),
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    }
    const [program, ...args] = words(restOf('CMD')) as [string, ...string[]]
    child = spawn(program, args, { cwd: folder, env, stdio: 'inherit' })
    const exit = once(child, 'exit')
    const [, check] = /CMD (\[.*\])$/.exec(restOf('HEALTHCHECK')) ?? []
    const [checker, ...rest] = words(check as string) as [string, ...string[]]
    const health = (): number | null => spawnSync(checker, rest, { env }).status
    while (health() !== 0) {
      expect(child.exitCode).to.equal(null)
      await pause(100)
    }

    const client = new WebSocket(`ws://127.0.0.1:${port}/live`)
    await once(client, 'open')
    client.send('hi')
    const [data] = await once(client, 'message')
    expect(String(data)).to.equal('hi')

    const closed = once(client, 'close')
    child.kill('SIGTERM')
    expect((await closed)[0]).to.equal(1012)
    expect((await exit)[0]).to.equal(0)
    expect(health()).to.equal(1)
  })
})

/** Returns the instructions, without comments and with continued lines joined. */
function parse(text: string): Instruction[] {
  return text
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, rest] = /^([A-Z]+) (.+)$/.exec(line) ?? []
      if (!name || !rest) throw new Error(`This is no instruction: ${line}`)
      return { name, rest }
    })
}

function restOf(name: string): string {
  const found = instructions.filter((instruction) => instruction.name === name)
  expect(found, name).to.have.lengthOf(1)
  return (found[0] as Instruction).rest
}

/** Parses the exec form, a JSON array. In the shell form, a shell would receive the signals. */
function words(json: string): string[] {
  return JSON.parse(json)
}

/** Returns the files that the sources of a COPY match. */
function sources(rest: string): string[] {
  return rest
    .split(' ')
    .slice(0, -1)
    .flatMap((source) => {
      const pattern = new RegExp(`^${source.replaceAll('.', '\\.').replaceAll('*', '.*')}$`)
      return readdirSync(EXAMPLE).filter((name) => pattern.test(name))
    })
}
