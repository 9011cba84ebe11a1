import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { cleanUp, openSocket, rejected } from '../support/server.ts'
import { blockOf, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import {
  type Instance,
  type RunningProxy,
  startInstance,
  startProxy,
  stopProxies,
} from './support/proxy.ts'

describe('nginx with the configuration of its guide in front of several instances', () => {
  needs('nginx')
  const config = blockOf('guides/behind-nginx.md', 'several.conf')

  afterEach(async () => {
    await stopProxies()
    await cleanUp()
    removeFolders()
  })

  async function start(
    [one, two]: readonly [Instance, Instance],
    changes: [string, string][] = [],
  ): Promise<RunningProxy & { port: number }> {
    const port = await freePort()
    const folder = readerFolder()
    const kept = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${name};`)
      .join('\n')
    const all: [string, string][] = [
      ['listen 80', `listen 127.0.0.1:${port}`],
      ['127.0.0.1:3001', `127.0.0.1:${one.port}`],
      ['127.0.0.1:3002', `127.0.0.1:${two.port}`],
      ['http {', `http {\naccess_log off;\n${kept}`],
      ...changes,
    ]
    const changed = all.reduce((text, [from, to]) => replaceOnce(text, from, to), config)
    writeFileSync(join(folder, 'several.conf'), changed)
    const main = `daemon off; worker_processes 2; pid ${folder}/pid; error_log stderr notice;`
    const args = ['-p', folder, '-e', 'stderr', '-c', 'several.conf', '-g', main]
    return { ...(await startProxy('nginx', args, folder, port)), port }
  }

  it('balances clients, and retries the 503 of a draining instance', async () => {
    const [one, two] = [await startInstance(), await startInstance()]
    const { port } = await start([one, two])
    const before = []
    for (let i = 0; i < 10; i++) {
      const socket = await openSocket(port, '/', { headers: { 'x-forwarded-for': '192.0.2.1' } })
      expect(await socket.next()).to.equal(`127.0.0.1 http 127.0.0.1:${port}`)
      before.push(socket)
    }
    expect([one.accepted, two.accepted]).to.deep.equal([5, 5])
    const mute = await openSocket(one.port)
    mute.pause() // sends no close frame, so that the instance keeps draining
    const closing = one.hub.close({ timeout: 3_000 })
    expect((await rejected(openSocket(one.port))).status).to.equal(503)
    const later = await Promise.all(Array.from({ length: 10 }, () => openSocket(port)))
    expect([one.accepted, two.accepted]).to.deep.equal([6, 15])
    for (const socket of later) expect(await socket.next()).to.include('127.0.0.1')
    mute.terminate()
    await closing
  })

  it('keeps WebSockets over a reload until worker_shutdown_timeout', async () => {
    const [one, two] = [await startInstance(), await startInstance()]
    const { port, child, printed } = await start(
      [one, two],
      [['worker_shutdown_timeout 1h', 'worker_shutdown_timeout 2s']],
    )
    const old = await openSocket(port)
    await old.next()
    child.kill('SIGHUP')
    while (!printed().includes('gracefully shutting down')) (await openSocket(port)).terminate()
    const started = Date.now()
    old.send('still here')
    expect(await old.next()).to.equal('still here')
    expect((await old.closed).code).to.equal(1006)
    expect(Date.now() - started).to.be.at.least(1_000)
    expect(await (await openSocket(port)).next()).to.include('127.0.0.1')
  })
})
