// test/auth.test.ts
import { expect } from 'chai'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import { RejectedError, testApp } from 'koaws/testing'

const app = new Koa()
app.use(koaWs())
app.use((ctx, next) => {
  if (ctx.get('authorization') !== 'Bearer good') {
    ctx.throw(401, 'Log in first', { headers: { 'WWW-Authenticate': 'Bearer' } })
  }
  ctx.set('X-Served-By', 'test')
  return next()
})
app.use(accept((connection) => connection.send(connection.protocol), { subprotocol: 'chat' }))

describe('authentication', () => {
  const test = testApp(app)
  const headers = { authorization: 'Bearer good' }

  afterEach(() => test.close())

  it('lets a token in', async () => {
    const socket = await test.connect('/', { headers, protocols: ['other', 'chat'] })
    expect(socket.handshake['x-served-by']).to.equal('test')
    expect(socket.protocol).to.equal('chat')
    expect(await socket.next()).to.equal('chat')
  })

  it('rejects without a token', async () => {
    const error = await rejection(test.connect('/', { protocols: 'chat' }))
    expect(error.status).to.equal(401)
    expect(error.headers['www-authenticate']).to.equal('Bearer')
    expect(error.body).to.equal('Log in first')
  })

  it('rejects another origin', async () => {
    const origin = 'https://elsewhere.example'
    const error = await rejection(test.connect('/', { headers: { ...headers, origin } }))
    expect(error.status).to.equal(403)
  })

  it('rejects a plain request', async () => {
    const response = await test.request('/', { headers })
    expect(response.status).to.equal(426)
  })
})

async function rejection(connecting: Promise<unknown>): Promise<RejectedError> {
  try {
    await connecting
  } catch (error) {
    if (error instanceof RejectedError) return error
    throw error
  }
  throw new Error('it was accepted')
}
