// test/echo.test.ts
import Router from '@koa/router'
import { expect } from 'chai'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import { type TestApp, testApp } from 'koaws/testing'

const app = new Koa()
const router = new Router()
router.get('/health', (ctx) => {
  ctx.body = 'fine'
})
router.get(
  '/echo/:name',
  accept((connection, ctx) => {
    connection.json({ hello: ctx.params['name'] })
    connection.on('message', (data, isBinary) => {
      if (String(data) === 'bye') connection.close(4000, 'as you wish')
      else connection.send(isBinary ? (data as Buffer) : data.toString())
    })
  }),
)
app.use(koaWs())
app.use(router.routes())

describe('echo', () => {
  let test: TestApp

  beforeEach(() => {
    test = testApp(app)
  })

  afterEach(() => test.close())

  it('greets by name', async () => {
    const socket = await test.connect('/echo/ann')
    expect(await socket.nextJson()).to.deep.equal({ hello: 'ann' })
  })

  it('sends back text as text and bytes as bytes, in order', async () => {
    const socket = await test.connect('/echo/ann')
    await socket.next() // the greeting
    socket.send('one')
    socket.send(Buffer.from([2]))
    expect(await socket.next()).to.equal('one')
    expect(await socket.next()).to.deep.equal(Buffer.from([2]))
  })

  it('closes on request', async () => {
    const socket = await test.connect('/echo/ann')
    socket.send('bye')
    expect(await socket.closed).to.deep.equal({ code: 4000, reason: 'as you wish' })
  })

  it('answers plain HTTP too', async () => {
    const response = await test.request('/health')
    expect(response.status).to.equal(200)
    expect(response.body).to.equal('fine')
  })
})
