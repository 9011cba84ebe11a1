import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import { selfSigned } from '../../support/certificate.ts'
import { freePort } from '../../support/free-port.ts'
import { type House, house } from '../../support/order.ts'
import { startRedis, stopRedis, type TestRedis } from '../../support/redis.ts'
import { type FrontMode, type RedisFront, startFront } from '../../support/redis-front.ts'
import { cleanUp } from '../../support/server.ts'
import { type Library, libraries } from './clients.ts'
import { slowly } from './patience.ts'

const OPEN: FrontMode = { entry: 'tls' }
const AUTH = /\bAUTH\b/i
const SUBSCRIBE = /\bSUBSCRIBE\b/i

/** A way in which Redis fails a client. */
interface Fault {
  readonly name: string
  readonly mode: FrontMode
  readonly password?: string
  /** The expected `status().backplane.why`. */
  readonly why: RegExp
}

const inHandshake: Fault[] = [
  { name: 'the port refuses connections', mode: { entry: 'closed' }, why: /ECONNREFUSED/ },
  {
    name: 'the server is silent in the TLS handshake',
    mode: { entry: 'silent' },
    why: /timeout|ETIMEDOUT|did not answer/i,
  },
  {
    name: 'the certificate is not trusted',
    mode: { entry: 'untrusted' },
    why: /self-signed certificate/,
  },
  {
    name: 'the server does not use TLS',
    mode: { entry: 'plain' },
    // Redis takes the handshake for a command, and waits for the rest.
    why: /wrong version number|packet length|ECONNRESET|EPROTO|timeout|ETIMEDOUT/i,
  },
]
const later: Fault[] = [
  {
    name: 'the connection is reset during authentication',
    mode: { ...OPEN, at: AUTH, fault: 'reset' },
    why: /ECONNRESET|closed|disconnected/i,
  },
  {
    name: 'the server is silent during authentication',
    mode: { ...OPEN, at: AUTH, fault: 'mute' },
    why: /did not answer within/,
  },
  { name: 'the password is wrong', mode: OPEN, password: 'wrong', why: /WRONGPASS/ },
  {
    name: 'the connection is reset during SUBSCRIBE',
    mode: { ...OPEN, at: SUBSCRIBE, fault: 'reset' },
    why: /ECONNRESET|closed|disconnected/i,
  },
  {
    name: 'the server is silent during SUBSCRIBE',
    mode: { ...OPEN, at: SUBSCRIBE, fault: 'mute' },
    why: /did not confirm all subscriptions within 10000 ms/,
  },
]

describe('a failing Redis', function () {
  this.timeout(120_000)

  const rejections: unknown[] = []
  const note = (reason: unknown): void => void rejections.push(reason)
  const children: ChildProcess[] = []
  const ca = readFileSync(selfSigned().cert, 'utf8')
  let redis: TestRedis

  before(async () => {
    process.on('unhandledRejection', note)
    redis = await startRedis(['user app on >secret ~* &* +@all'])
  })
  afterEach(async () => {
    await cleanUp()
    for (const child of children.splice(0)) child.kill('SIGKILL')
    expect(rejections.splice(0)).to.deep.equal([])
  })
  after(async () => {
    process.off('unhandledRejection', note)
    await stopRedis()
  })

  const open = (library: Library, front: RedisFront, password = 'secret'): Promise<House> => {
    const client = library.client(front.port, { username: 'app', password, tls: { ca } })
    return house({ adapter: redisAdapter({ client, heartbeat: 200 }) })
  }
  const stateOf = ({ hub }: House): string => hub.status().backplane.state
  const whyOf = ({ hub }: House): string => hub.status().backplane.why

  for (const { name, mode, password, why } of [...inHandshake, ...later]) {
    it(`keeps a new hub connecting, with the reason in its status: ${name}`, async () => {
      const front = await startFront(redis.port)
      await front.be(mode)
      const houses = await Promise.all(libraries.map((one) => open(one, front, password)))
      await slowly(
        () => houses.every((one) => why.test(whyOf(one))),
        () => houses.map(whyOf),
      )
      expect(new Set(houses.map(stateOf))).to.deep.equal(new Set(['connecting']))
      // Later attempts start from the state that the first one left.
      const { reached } = front
      if (mode.entry === 'untrusted' || mode.fault === 'reset') {
        await slowly(
          () => front.reached >= reached + 3 * libraries.length,
          () => front.reached,
        )
      }
      for (const one of houses) expect(whyOf(one)).to.match(why)
      if (password) return
      await front.be(OPEN)
      await slowly(
        () => houses.every((one) => stateOf(one) === 'ready'),
        () => houses.map(whyOf),
      )
    })

    it(`lets the hub close at that moment: ${name}`, async () => {
      const front = await startFront(redis.port)
      await front.be(mode)
      for (let round = 0; round < 3; round++) {
        const { reached } = front
        const houses = await Promise.all(libraries.map((one) => open(one, front, password)))
        if (mode.entry !== 'closed') {
          await slowly(
            () => front.reached >= reached + libraries.length,
            () => front.reached,
          )
        }
        for (let turns = 0; turns < round; turns++) await new Promise(setImmediate)
        await Promise.all(houses.map(({ hub }) => hub.close()))
      }
    })
  }

  for (const { name, mode, why } of inHandshake) {
    it(`degrades a running hub, with the reason, until it recovers: ${name}`, async () => {
      const front = await startFront(redis.port)
      const houses = await Promise.all(libraries.map((one) => open(one, front)))
      await slowly(
        () => houses.every((one) => stateOf(one) === 'ready'),
        () => houses.map(whyOf),
      )
      await front.be(mode)
      await slowly(
        () => houses.every((one) => why.test(whyOf(one))),
        () => houses.map(whyOf),
      )
      expect(new Set(houses.map(stateOf))).to.deep.equal(new Set(['degraded']))
      await front.be(OPEN)
      await slowly(
        () => houses.every((one) => stateOf(one) === 'ready'),
        () => houses.map(whyOf),
      )
    })
  }

  it('degrades a running hub at its next connection when the certificate changes', async () => {
    const front = await startFront(redis.port)
    const houses = await Promise.all(libraries.map((one) => open(one, front)))
    await slowly(
      () => houses.every((one) => stateOf(one) === 'ready'),
      () => houses.map(whyOf),
    )
    await front.be({ entry: 'untrusted' }, false)
    expect(new Set(houses.map(stateOf))).to.deep.equal(new Set(['ready']))
    await redis.command('client', 'kill', 'type', 'pubsub')
    const isUntrusted = (one: House): boolean => /self-signed/.test(whyOf(one))
    await slowly(
      () => houses.every(isUntrusted),
      () => houses.map(whyOf),
    )
    await front.be(OPEN)
    await slowly(
      () => houses.every((one) => stateOf(one) === 'ready'),
      () => houses.map(whyOf),
    )
  })

  it('degrades a running hub when its password changes and its connections are cut', async () => {
    const front = await startFront(redis.port)
    const houses = await Promise.all(libraries.map((one) => open(one, front)))
    await slowly(
      () => houses.every((one) => stateOf(one) === 'ready'),
      () => houses.map(whyOf),
    )
    await redis.command('acl', 'setuser', 'app', 'resetpass', '>another')
    try {
      await redis.command('client', 'kill', 'user', 'app')
      await slowly(
        () => houses.every((one) => /WRONGPASS/.test(whyOf(one))),
        () => houses.map(whyOf),
      )
      expect(new Set(houses.map(stateOf))).to.deep.equal(new Set(['degraded']))
    } finally {
      await redis.command('acl', 'setuser', 'app', 'resetpass', '>secret')
    }
    await slowly(
      () => houses.every((one) => stateOf(one) === 'ready'),
      () => houses.map(whyOf),
    )
  })

  it('never ends the process with an untrusted certificate, in 40 attempts', async () => {
    // Redis itself answers an abandoned handshake with a TLS alert.
    const tlsPort = await freePort()
    const { key, cert } = selfSigned()
    const lines = [`tls-port ${tlsPort}`, `tls-cert-file ${cert}`, `tls-key-file ${key}`]
    await startRedis([...lines, 'tls-auth-clients no'])
    const child = spawn(
      process.execPath,
      [
        '--import=tsx',
        '--input-type=module',
        '-e',
        `
        import { libraries } from './test/adapters/redis/clients.ts'
        import { redisAdapter } from './lib/adapters/redis/index.ts'
        const connect = (client) => new Promise((done) => {
          const reasons = []
          const failed = (reason) => {
            reasons.push(reason.message)
            if (reasons.length === 40) done(link.close().then(() => reasons))
            // Starts a new pair at once, during the teardown of the last one.
            else setImmediate(() => link.restart())
          }
          const link = redisAdapter({ client }).connect('me', { received() {}, up() {}, down() {}, gone() {}, failed })
        })
        const settings = { tls: {} }
        setInterval(() => {}, 1_000)
        const reasons = await Promise.all(libraries.flatMap((library) => [
          connect(library.client(${tlsPort}, settings)),
          connect(library.cluster(${tlsPort}, settings)),
        ]))
        console.log(JSON.stringify(reasons))
        process.exit(0)
        `,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    children.push(child)
    let [out, errors] = ['', '']
    child.stdout.on('data', (data) => {
      out += data
    })
    child.stderr.on('data', (data) => {
      errors += data
    })
    const [code] = await once(child, 'exit')
    expect(errors).not.to.include("Unhandled 'error' event")
    expect(code, errors).to.equal(0)
    const reasons = JSON.parse(out) as string[][]
    expect(reasons.map(({ length }) => length)).to.deep.equal(Array(8).fill(40))
    for (const each of reasons.filter((_, i) => i % 2 === 0)) {
      for (const reason of each) expect(reason).to.match(/^Redis: self-signed certificate/)
    }
  })
})
