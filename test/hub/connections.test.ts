import { once } from 'node:events'
import { expect } from 'chai'
import { accept, type Connection } from '../../lib/index.ts'
import { cleanUp, deferred, eventually, openSocket, serve } from '../support/server.ts'

describe('onConnect', () => {
  afterEach(cleanUp)

  for (const inside of [false, true]) {
    for (const isAsync of [false, true]) {
      const how = `${isAsync ? 'async' : 'sync'}, accepted ${inside ? 'inside' : 'after'} the chain`
      it(`keeps a connection that it closes from the handler, and drops its messages (${how})`, async () => {
        const heard: string[] = []
        const handler = (connection: Connection): void => {
          heard.push('handler')
          connection.on('message', (data) => heard.push(String(data)))
        }
        const { port, errors } = await serve(
          (app) => {
            if (!inside) app.use(accept(handler))
            else app.use(async (ctx) => void (ctx.ws && handler(await ctx.ws())))
          },
          {
            onConnect(connection) {
              if (isAsync) return Promise.resolve().then(() => connection.close(4003, 'no'))
              connection.close(4003, 'no')
              return undefined
            },
          },
        )
        const socket = await openSocket(port)
        socket.send('delete everything')
        expect(await socket.closed).to.deep.equal({ code: 4003, reason: 'no' })
        expect(heard).to.deep.equal([])
        expect(errors.filter(({ error }) => error['expose'] !== true)).to.deep.equal([])
      })
    }
  }

  for (const isAsync of [false, true]) {
    it(`closes with 1011 when its rooms and the rooms of the route exceed maxRooms (${isAsync ? 'async' : 'sync'})`, async () => {
      let handled = 0
      const { port, hub, errors } = await serve(
        (app) => app.use(accept(() => handled++, { rooms: ['c'] })),
        {
          maxRooms: 2,
          onConnect(connection) {
            const join = (): void => void connection.join('a', 'b')
            return isAsync ? Promise.resolve().then(join) : join()
          },
        },
      )
      const socket = await openSocket(port)
      expect((await socket.closed).code).to.equal(1011)
      await eventually(() => hub.status().connections === 0)
      expect([handled, await hub.all().count()]).to.deep.equal([0, 0])
      expect(errors.map(({ error }) => error['code'])).to.deep.equal(['ERR_KOAWS_MAX_ROOMS'])
    })
  }

  it('runs before any audience includes the connection', async () => {
    const decide = deferred<boolean>()
    const arrived = deferred()
    const { port, hub } = await serve(
      (app) => app.use(accept(() => {}, { rooms: ['r'], user: 'ann' })),
      {
        async onConnect() {
          arrived.resolve()
          if (!(await decide.promise)) throw Object.assign(new Error('no'), { status: 403 })
        },
      },
    )
    const denied = await openSocket(port)
    await arrived.promise
    for (const audience of [hub.all(), hub.user('ann'), hub.room('r')]) {
      expect(audience.send('secret').local).to.equal(0)
    }
    expect(hub.status()).to.include({ connections: 1, rooms: 0, users: 0 })
    let got = 0
    denied.on('message', () => got++)
    decide.resolve(false)
    expect((await denied.closed).code).to.equal(4403)
    expect(got).to.equal(0)
    await eventually(() => hub.status().connections === 0)
  })

  it('lets the connection into its rooms and audiences once it has resolved', async () => {
    const accepted = deferred()
    const { port, hub } = await serve(
      (app) => app.use(accept(() => {}, { rooms: ['r'], user: 'ann' })),
      { onConnect: () => accepted.promise },
    )
    const socket = await openSocket(port)
    accepted.resolve()
    await eventually(() => hub.status().rooms === 1)
    const message = once(socket, 'message')
    expect(hub.user('ann').send('hi').local).to.equal(1)
    expect(String((await message)[0])).to.equal('hi')
  })
})
