import { createServer } from 'node:http'
import { expect } from 'chai'
import { z } from 'zod'
import { clusterAdapter } from '../lib/adapters/cluster/index.ts'
import { redisAdapter } from '../lib/adapters/redis/index.ts'
import { connect } from '../lib/client/index.ts'
import koaWs, {
  accept,
  bearer,
  bySubprotocol,
  type Connection,
  forward,
  messages,
  protocol,
} from '../lib/index.ts'
import { fakeServer, testApp } from '../lib/testing/index.ts'
import { limitSite } from './support/limits.ts'
import { cleanUp, openSocket, rejected, serve } from './support/server.ts'

class ObjectId {
  toString(): string {
    return '5f'
  }
}

describe('wrong arguments', () => {
  afterEach(cleanUp)

  const wrong: [string, () => unknown, string][] = [
    ['accept()', () => accept(undefined as never), 'accept() takes a handler, not undefined.'],
    [
      'accept(new ObjectId())',
      () => accept(new ObjectId() as never),
      'not an object of the class ObjectId.',
    ],
    ['forward(5n)', () => forward(5n as never), 'not the BigInt 5n:'],
    ['bySubprotocol({})', () => bySubprotocol({}), 'at least one subprotocol'],
    ['messages().on(5)', () => messages().on(5 as never, () => {}), '5'],
    [
      'protocol({ say: schema })',
      () => protocol({ say: z.object({}) as never }),
      'the type "say" has a schema in place of its parts: { data: schema }',
    ],
    ['protocol(schema)', () => protocol(z.object({}) as never), 'not a schema.'],
    [
      'protocol()',
      () => protocol(undefined as never),
      'protocol() takes an object with an entry for each type',
    ],
    [
      'protocol([])',
      () => protocol([] as never),
      'protocol() takes an object with an entry for each type',
    ],
    ['koaWs("x")', () => koaWs('x' as never), 'takes an object of options, not "x".'],
    ['koaWs(null)', () => koaWs(null as never), 'takes an object of options, not null.'],
  ]
  for (const [call, run, says] of wrong) {
    it(`of ${call} throw an error that names the given and the expected value`, () => {
      expect(run).to.throw(says)
    })
  }

  const SERVER = 'takes an http, https or http2 server, such as the result of app.listen()'
  const CODE = 'A close code must be 1000 to 1003, 1007 to 1014, or 3000 to 4999'
  const MESSAGE = 'A message must be a string, a Buffer, an ArrayBuffer or a view of one'
  const NAMED = 'must be a string of 1 to 255 bytes'
  const URL_WANTED = 'connect() needs a URL such as wss://example.com/chat'
  const FakeSocket = fakeServer().WebSocket
  const ODD = new ObjectId()
  /** Each function with arguments of wrong types, and its error. */
  const rows: [string, (...given: never[]) => unknown, unknown[], string][] = []
  const hub = koaWs()
  const all = hub.all()
  for (const [given, shown] of [
    [undefined, 'undefined'],
    [null, 'null'],
    [5n, 'the BigInt 5n'],
    [ODD, 'an object of the class ObjectId'],
    [['a'], 'an array'],
    [() => {}, 'a function'],
    [Object.create(null), 'an object'],
  ] as const) {
    const not = `, not ${shown}`
    rows.push(
      ['hub.room', hub.room, [given], `The name of a room ${NAMED}${not}.`],
      ['hub.user', hub.user, [given], `The name of a user ${NAMED}${not}.`],
      ['hub.connection', hub.connection, [given], `The name of a connection ${NAMED}${not}.`],
      ['hub.attach', hub.attach, [given], `hub.attach() ${SERVER}${not}.`],
      ['hub.detach', hub.detach, [given], `hub.detach() ${SERVER}${not}.`],
      ['hub.route', hub.route, [given], `hub.route() takes a path such as "/chat/:room"`],
      ['hub.route', hub.route, [given], `${not}.`],
      ['audience.send', all.send, [given], `${MESSAGE}${not}.`],
      ['audience.push', all.push, [given], `The name of a message type ${NAMED}${not}.`],
      ['audience.except', all.except, [given], `The name of a connection ${NAMED}${not}.`],
      ['audience.exceptUser', all.exceptUser, [given], `The name of a user ${NAMED}${not}.`],
      ['audience.join', all.join, [given], `The name of a room ${NAMED}${not}.`],
      ['audience.leave', all.leave, [given], `The name of a room ${NAMED}${not}.`],
      ['testApp', testApp, [given], `testApp() takes an app of Koa${not}.`],
      ['connect', connect, [given, { WebSocket: FakeSocket }], URL_WANTED],
    )
    if (given !== undefined) {
      rows.push(
        ['audience.close', all.close, [given], `${CODE}${not}.`],
        ['audience.close', all.close, [1000, given], `A close reason must be a string${not}.`],
      )
    }
    if (typeof given !== 'function') {
      rows.push([
        'hub.route',
        hub.route,
        ['/x', given],
        `hub.route("/x") takes middleware after the path, such as accept(handler), not ${Array.isArray(given) ? '"a"' : shown}.`,
      ])
    }
  }
  for (const [given, shown] of [
    [null, 'null'],
    [5, '5'],
    ['x', '"x"'],
    [5n, 'the BigInt 5n'],
  ] as const) {
    const options = `takes an object of options, not ${shown}.`
    const attach = (to: never): unknown => hub.attach(createServer(), to)
    rows.push(
      ['hub.attach(server, …)', attach, [given], `hub.attach() ${options}`],
      ['bearer', bearer, [given], `bearer() ${options}`],
      ['redisAdapter', redisAdapter, [given], `redisAdapter() ${options}`],
      ['clusterAdapter', clusterAdapter, [given], `clusterAdapter() ${options}`],
    )
    if (given === null) continue // null stands for no options here
    rows.push(
      ['hub.close', hub.close, [given], `hub.close() ${options}`],
      ['hub.closeOnSignal', hub.closeOnSignal, [given], `hub.closeOnSignal() ${options}`],
    )
  }
  rows.push(
    ['audience.json', all.json, [5n], 'json() needs a value with a JSON form, not the BigInt 5n.'],
    ['audience.json', all.json, [() => {}], 'a JSON form, not a function.'],
    ['audience.close', all.close, [401], `${CODE}, not 401.`],
    ['hub.attach(server, …)', hub.attach, [createServer(), { gate: 1 }], '"gate" must be true or'],
    [
      'hub.route',
      hub.route,
      ['/x'],
      'hub.route("/x") needs middleware after the path, such as accept(handler).',
    ],
    ['bearer', bearer, [{ cookie: 5 }], '"cookie" must be a non-empty string, not 5.'],
    ['redisAdapter', redisAdapter, [{}], 'redisAdapter() needs the option "client"'],
    ['redisAdapter', redisAdapter, [{ client: 5 }], 'a client of node-redis or ioredis, not 5.'],
    ['clusterAdapter', clusterAdapter, [{ name: 5 }], '"name" must be a non-empty string, not 5.'],
    ['connect', connect, [Symbol('x'), { WebSocket: FakeSocket }], URL_WANTED],
    ['connect', connect, ['ws://x/', null], 'connect() takes an object of options, not null.'],
    ['connect', connect, ['ws://x/', 'y'], 'connect() takes an object of options, not "y".'],
    ['fakeServer', fakeServer, [{}, null], 'and then an object of options, not null.'],
    ['fakeServer', fakeServer, [{}, true], 'and then an object of options, not a boolean.'],
  )
  for (const [name, wanted] of [
    ['timeout', 'a number above 0'],
    ['retry', 'a function'],
    ['onError', 'a function'],
    ['WebSocket', 'a function'],
    ['token', 'a string or function'],
    ['queue', 'a QueueOptions object or false'],
  ] as const) {
    for (const [value, shown] of [
      [true, 'true'],
      [Symbol('x'), 'symbol'],
    ] as const) {
      const says = `connect(): "${name}" must be ${wanted}, not ${shown}.`
      rows.push(['connect', connect, ['ws://x/', { [name]: value }], says])
    }
  }

  for (const name of new Set(rows.map(([one]) => one))) {
    it(`of ${name} throw with the given and the expected value`, () => {
      for (const [one, run, given, says] of rows) {
        if (one !== name) continue
        const bound = name.startsWith('audience') ? run.bind(all as never) : run
        expect(() => bound(...(given as never[])), says).to.throw(says)
      }
    })
  }

  it('of app.use(koaWs), without a call, answer 500 and name the missing call', async () => {
    const { port, errors } = await serve((app) => app.use(koaWs as never))
    expect((await rejected(openSocket(port))).status).to.equal(500)
    expect(errors[0]?.error.message).to.equal(
      'koaWs() got the ctx of a request as its options: write app.use(koaWs()), not app.use(koaWs).',
    )
  })

  const users: [unknown, string][] = [
    [5n, 'not the BigInt 5n. Call toString() on it.'],
    [new ObjectId(), 'not an object of the class ObjectId. Call toString() on it.'],
    ['', 'not "".'],
    [true, 'not true.'],
  ]
  for (const [user, says] of users) {
    it(`a user of ${String(user) || 'no characters'} (${typeof user}) answers 500, and the error names the value`, async () => {
      const { port, errors } = await serve((app) => app.use(accept(() => {})), {
        user: () => user as string,
      })
      expect((await rejected(openSocket(port))).status).to.equal(500)
      expect(errors[0]?.error.message).to.include(says)
    })
  }

  it('of connection.send(), json() and close() throw, send nothing and leave the connection open', async () => {
    const site = await limitSite()
    const { connection, socket } = await site.socket()
    const any = connection as unknown as Record<string, (...given: unknown[]) => void>
    const table: [string, unknown[], string][] = [
      [
        'send',
        [undefined],
        'connection.send() takes a string, a Buffer, an ArrayBuffer, a view of one or a Blob, not undefined.',
      ],
      ['send', [null], 'not null. Use connection.json() for other values.'],
      ['send', [{}], 'not an object.'],
      ['send', [new ObjectId()], 'not an object of the class ObjectId.'],
      ['send', [5n], 'not the BigInt 5n.'],
      ['send', [true], 'not true.'],
      ['send', [() => {}], 'not a function.'],
      ['send', [Symbol('x')], 'not Symbol(x).'],
      ['send', [['a']], 'not an array.'],
      ['json', [undefined], 'json() needs a value with a JSON form, not undefined.'],
      ['close', [401], 'not 401. For the HTTP status 401 close with 4401.'],
      ['close', [1005], 'not 1005.'],
      ['close', ['1000'], 'not a value of the type string.'],
      ['close', [4000, 5], 'as the reason, not a value of the type number.'],
      ['close', [4000, null], 'as the reason, not null.'],
      ['close', [4000, 'x'.repeat(124)], 'at most 123 bytes of UTF-8, not 124.'],
    ]
    for (const [method, given, says] of table) {
      expect(() => any[method]?.apply(connection, given), says).to.throw(says)
    }
    expect((connection as Connection).readyState).to.equal(1)
    const right: unknown[] = [
      '',
      7,
      Buffer.from('b'),
      new Uint8Array([1]).buffer,
      [1, 2],
      new Blob(['x']),
    ]
    for (const one of right) any['send']?.apply(connection, [one])
    const got: unknown[] = []
    for (const _ of right) got.push(String(await socket.next()))
    expect(got).to.deep.equal(['', '7', 'b', '\u0001', '\u0001\u0002', 'x'])
  })
})
