import { createServer } from 'node:http'
import { expect } from 'chai'
import type Koa from 'koa'
import koaWs, { accept } from '../../lib/index.ts'
import { forgetWarnings } from '../../lib/warn.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { cleanUp, eventually, listen, makeApp, makeHub, serve } from '../support/server.ts'

interface Coded extends Error {
  code?: string
}

// A warning is printed once in a process, so each code is tested once.
describe('a developer is warned', () => {
  const warnings: Coded[] = []
  const hear = (warning: Coded): void => void warnings.push(warning)
  before(() => {
    forgetWarnings()
    process.on('warning', hear)
  })
  after(() => process.off('warning', hear))
  afterEach(cleanUp)

  async function warned(code: string): Promise<string> {
    await eventually(() => warnings.some((one) => one.code === code), code)
    return warnings.find((one) => one.code === code)?.message ?? ''
  }

  async function upgrade(port: number, headers = {}): Promise<number> {
    const client = await rawClient(port)
    client.write(handshake('/', headers))
    return (await client.answer()).status
  }

  it('of a rejected origin, with the option to set and a hint for the dev server', async () => {
    const { port } = await serve((app) => app.use(accept(() => {})))
    expect(await upgrade(port, { Origin: 'http://localhost:5173' })).to.equal(403)
    expect(await warned('KOAWS_ORIGIN'))
      .to.contain('http://localhost:5173')
      .and.contain('changeOrigin')
  })

  it('of an earlier upgrade listener without hub.attach()', async () => {
    const { app } = makeApp()
    app.use(makeHub())
    const server = createServer(app.callback())
    server.on('upgrade', () => {})
    const port = await listen(server)
    await (await fetch(`http://127.0.0.1:${port}/`)).text()
    expect(await warned('KOAWS_ATTACH')).to.contain('hub.attach(server)')
  })

  it('of two plugins', async () => {
    const { port } = await serve((app) => app.use(makeHub()).use(accept(() => {})))
    expect(await upgrade(port)).to.equal(101)
    expect(await warned('KOAWS_TWO_PLUGINS')).to.contain('outer')
  })

  it('of a body that is set after the accept', async () => {
    const { port } = await serve((app) =>
      app.use(
        accept((_connection, ctx) => {
          ;(ctx as unknown as Koa.Context).body = 'late'
        }),
      ),
    )
    expect(await upgrade(port)).to.equal(101)
    expect(await warned('KOAWS_LATE_RESPONSE')).to.contain('before the accept')
  })

  it('of nothing when all is well', async () => {
    const { port } = await serve((app) =>
      app.use(koaWs({ property: 'other' })).use(accept(() => {})),
    )
    const before = warnings.length
    expect(await upgrade(port)).to.equal(101)
    expect(warnings.slice(before)).to.deep.equal([])
  })
})
