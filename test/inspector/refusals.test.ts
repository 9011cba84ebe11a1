import { expect } from 'chai'
import { errorTable, type UpgradeEvent } from '../../lib/index.ts'
import { fixOf, Refusals } from '../../lib/inspector/refusals.ts'
import { Timelines } from '../../lib/inspector/timeline.ts'
import { cleanUp, openSocket, rejected } from '../support/server.ts'
import { inspectedHouse, PageSocket } from './support/page.ts'

describe('the refused upgrades', () => {
  afterEach(cleanUp)

  const event = (fields: Partial<UpgradeEvent>): UpgradeEvent => ({
    instance: 'i',
    request: {},
    path: '/',
    method: 'GET',
    status: 403,
    code: undefined,
    reason: undefined,
    ip: '10.0.0.1',
    origin: undefined,
    userAgent: undefined,
    requestId: undefined,
    duration: 1,
    ...fields,
  })

  it('are the last 200, newest first', () => {
    const refusals = new Refusals(new Timelines(null))
    for (let i = 0; i < 250; i++) refusals.decided(event({ path: `/${i}` }))
    const paths = refusals.all.map(({ path }) => path)
    expect(paths).to.have.length(200)
    expect([paths[0], paths[199]]).to.deep.equal(['/249', '/50'])
  })

  it('leave out accepted ones: 101, and 200 over HTTP/2 only', () => {
    const refusals = new Refusals(new Timelines(null))
    refusals.decided(event({ status: 101 }))
    refusals.decided(event({ status: 200, request: { httpVersionMajor: 2 } }))
    expect(refusals.all).to.deep.equal([])
    refusals.decided(event({ status: 200, request: { httpVersionMajor: 1 } }))
    expect(refusals.all[0]?.fix).to.include('koa-static')
  })

  it('each have a sentence that says what to change', () => {
    for (const code of Object.keys(errorTable)) {
      expect(fixOf(400, code), code).to.match(/^\S.{15,}\.$/s)
    }
    for (const status of [0, 200, 302, 400, 401, 403, 404, 418, 429, 500, 503]) {
      expect(fixOf(status, undefined), String(status)).to.match(/^\S.{15,}\.$/s)
    }
    expect(fixOf(403, 'ERR_KOAWS_ORIGIN')).to.include('proxy_set_header Host $http_host;')
    expect(fixOf(403, 'toString')).to.equal(fixOf(403, undefined))
  })

  it('reach the page with status, code, origin and path', async () => {
    const { port, hub } = await inspectedHouse()
    const headers = { Origin: 'https://shop.example', 'User-Agent': 'test' }
    await rejected(openSocket(port, '/chat?token=t', { headers }))
    const page = await PageSocket.open(port)
    const { all, missing } = await page.ask('refusals')
    expect(missing).to.deep.equal([])
    expect(all).to.have.length(1)
    expect(all[0]).to.include({
      status: 403,
      code: 'ERR_KOAWS_ORIGIN',
      path: '/chat',
      origin: 'https://shop.example',
      userAgent: 'test',
      ip: '127.0.0.1',
      instance: hub.status().id,
    })
  })
})
