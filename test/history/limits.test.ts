import { expect } from 'chai'
import { accept, messages } from '../../lib/index.ts'
import { comeBack, type Placed, Returning, recoverySite } from '../support/recovery.ts'
import { cleanUp, openSocket, type Site, serve } from '../support/server.ts'

const verdictOf = (all: Placed[]): unknown =>
  all.find(({ type }) => type === 'koaws:recovered')?.data

const positionsOf = async ({ hub }: Site): Promise<Record<string, string>> => ({
  'chat:1': await hub.room('chat:1').position(),
})

describe('the limit of recoveries', () => {
  afterEach(cleanUp)

  it('does not count connections that present nothing, and repeated messages', async () => {
    const site = await recoverySite({ heartbeat: false })
    const positions = await positionsOf(site)
    for (let i = 0; i < 30; i++) {
      const ann = await comeBack(site.port, 'rooms=chat:1')
      for (let j = 0; j < 3; j++) ann.socket.json({ type: 'koaws:resume', data: { positions } })
      await ann.rest()
      await ann.leave()
    }
    const bob = await comeBack(site.port, 'rooms=chat:1', { positions })
    expect(verdictOf(await bob.rest())).to.include({ recovered: true })
    expect(site.hub.status().drops).to.not.have.property('recoveries')
  })

  it('counts a user that authenticates with a message, and not its address', async () => {
    const users = { user: (ctx: { state: { user?: unknown } }) => ctx.state.user as string }
    const authenticate = (
      ctx: { state: object; get(name: string): string },
      next: () => unknown,
    ) => {
      Object.assign(ctx.state, { user: ctx.get('authorization') })
      return next()
    }
    const site = await serve(
      (app) =>
        app.use(accept(messages(), { rooms: ['chat:1'], authenticate: authenticate as never })),
      { history: { rooms: 'chat:*' }, ...(users as object) },
    )
    const positions = await positionsOf(site)
    const returns = async (token: string): Promise<unknown> => {
      const socket = await openSocket(site.port, '/', { protocols: ['koaws.v1', 'koaws.resume'] })
      socket.json({ type: 'koaws:resume', data: { positions } })
      socket.json({ type: 'koaws:auth', id: 1, data: { token } })
      const client = new Returning(socket)
      let message = await client.next()
      while (message.type !== 'koaws:recovered') message = await client.next()
      await client.leave()
      return message.data
    }
    for (let i = 0; i < 61; i++) expect(await returns(`user${i}`)).to.include({ recovered: true })
    for (let i = 0; i < 59; i++) expect(await returns('user0')).to.include({ recovered: true })
    expect(await returns('user0')).to.include({ recovered: false, reason: 'limit' })
  })
})
