import { expect } from 'chai'
import Koa from 'koa'
import { connect } from '../../lib/client/index.ts'
import koaWs, { accept, messages } from '../../lib/index.ts'
import { testApp } from '../../lib/testing/index.ts'

describe('testApp().webSocket()', () => {
  it('connects koaws/client to an app without a port, with headers of the test', async () => {
    const hub = koaWs({ user: (ctx) => ctx.get('x-user') || undefined })
    const app = new Koa().use(hub)
    app.use(accept(messages().on('who', ({ connection }) => [connection.userId, connection.path])))
    const site = testApp(app)
    const WebSocket = site.webSocket({ headers: { 'x-user': 'ann' } }) as never
    const client = connect('ws://whatever.example/chat', { WebSocket })
    expect(await client.request('who')).to.deep.equal(['ann', '/chat'])
    client.close()
    await site.close()
    expect(hub.status().connections).to.equal(0)
    await hub.close()
  })
})
