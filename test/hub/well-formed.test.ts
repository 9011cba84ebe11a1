import { expect } from 'chai'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { redisAdapter, redisEmitter } from '../../lib/adapters/redis/index.ts'
import { assertType } from '../../lib/client/envelope.ts'
import { accept, bearer, type Hub, messages, protocol } from '../../lib/index.ts'
import { closeReason } from '../../lib/protocol/close-codes.ts'
import { house } from '../support/order.ts'
import { cleanUp, makeHub, openSocket, rejected, serve } from '../support/server.ts'
import { hear, serveMessages, talk } from '../support/talk.ts'

/** UTF-8 has U+FFFD in place of a lone surrogate, so different strings would become one name. */
const LONE = ['\ud800', 'a\ud800', 'a\udc00b', '\udfff\ud800', `${'x'.repeat(90)}\udbff`]

describe('a string with a lone surrogate', () => {
  afterEach(cleanUp)

  const takers: [string, (hub: Hub, name: string) => unknown][] = [
    ['hub.room()', (hub, name) => hub.room('r', name)],
    ['hub.user()', (hub, name) => hub.user('u', name)],
    ['hub.connection()', (hub, name) => hub.connection(name)],
    ['audience.except()', (hub, name) => hub.all().except(name)],
    ['audience.except() of a connection', (hub, name) => hub.all().except({ id: name })],
    ['audience.exceptUser()', (hub, name) => hub.all().exceptUser(name)],
    ['audience.join()', (hub, name) => hub.all().join(name)],
    ['audience.leave()', (hub, name) => hub.all().leave(name)],
    ['audience.push()', (hub, name) => hub.all().push(name)],
    ['audience.close()', (hub, name) => hub.all().close(1000, name)],
  ]
  for (const [what, call] of takers) {
    it(`makes ${what} throw`, () => {
      const hub = makeHub()
      for (const name of LONE) expect(() => call(hub, name)).to.throw(TypeError, 'lone surrogate')
    })
  }

  it('makes the methods of a connection throw, and leaves the connection open', async () => {
    const { hub, enter } = await house()
    const { connection, socket } = await enter({ path: '/v1' })
    for (const name of LONE) {
      expect(() => connection.join(name)).to.throw(TypeError, 'lone surrogate')
      expect(() => connection.to(name)).to.throw(TypeError, 'lone surrogate')
      expect(() => connection.push(name)).to.throw(TypeError, 'lone surrogate')
    }
    expect([...connection.rooms]).to.deep.equal([])
    expect(hub.status().drops['badName']).to.equal(LONE.length)
    connection.send('alive')
    expect(await socket.next()).to.equal('alive')
  })

  it('as the type of a request to a client rejects the request', async () => {
    let type: Promise<unknown> = Promise.resolve()
    const { port } = await serveMessages(
      messages().onOpen((connection) => {
        type = connection.request('a\ud800').catch((error: unknown) => error)
      }),
    )
    await talk(port)
    expect(await type).to.be.an.instanceOf(TypeError)
  })

  it('makes the methods of an emitter and the options of adapters throw', () => {
    const client = { publish: async () => 0 }
    const emitter = redisEmitter({ client })
    for (const name of LONE) {
      for (const call of [
        () => emitter.room(name),
        () => emitter.user(name),
        () => emitter.connection(name),
        () => emitter.all().except(name),
        () => emitter.all().exceptUser(name),
        () => emitter.all().join(name),
        () => emitter.all().leave(name),
        () => emitter.all().push(name),
        () => emitter.all().close(1000, name),
        () => redisEmitter({ client, prefix: name }),
        () => redisAdapter({ prefix: name, client: client as never }),
        () => clusterAdapter({ name }),
      ]) {
        expect(call, String(call)).to.throw('lone surrogate')
      }
    }
  })

  it('in a fixed option makes the call throw', () => {
    const name = 'a\ud800'
    for (const call of [
      () => accept(() => {}, { rooms: ['r', name] }),
      () => accept(() => {}, { user: name }),
      () => bearer({ cookie: name }),
      () => bearer({ query: name }),
      () => makeHub({ hosts: [name] }),
      () => makeHub({ history: { rooms: ['r*', name] } }),
      () => makeHub({ presence: { rooms: `${name}*`, info: () => null } }),
      () =>
        makeHub().route(
          `/${name}`,
          accept(() => {}),
        ),
      () => protocol({ [name]: {} }),
      () => messages().on(name, () => {}),
    ]) {
      expect(call, String(call)).to.throw(/lone surrogate|well-formed/)
    }
  })

  for (const [what, options] of [
    ['user', { user: () => 'a\ud800' }],
    ['rooms', { rooms: () => ['a\ud800'] }],
  ] as const) {
    it(`returned by the option "${what}" is reported, and the handshake is rejected with 500`, async () => {
      const { port, hub, errors } = await serve((app) =>
        app.use(accept(() => {}, options as never)),
      )
      expect((await rejected(openSocket(port))).status).to.equal(500)
      expect(hub.status().connections).to.equal(0)
      expect(errors.map(({ error }) => error.message).join()).to.match(/well-formed|lone surrogate/)
    })
  }

  it('as the type of a message is answered with ERR_KOAWS_MALFORMED, and reaches no handler', async () => {
    let handled = 0
    const chat = messages().on('*' as never, () => void handled++)
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    socket.send('{"type":"a\\ud800","id":1}')
    const { error, id } = await hear(socket)
    expect([error?.code, id]).to.deep.equal(['ERR_KOAWS_MALFORMED', 1])
    expect([handled, hub.status().drops['malformed']]).to.deep.equal([0, 1])
  })

  it('as a type makes the client throw', () => {
    for (const name of LONE) expect(() => assertType(name)).to.throw(TypeError, 'well-formed')
    assertType('a😀')
  })

  it('in the message of an error becomes U+FFFD in the close reason', () => {
    expect(closeReason('no \ud800')).to.equal('no \ufffd')
    expect(closeReason('fine 😀')).to.equal('fine 😀')
  })
})
