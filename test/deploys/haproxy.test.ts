import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { cleanUp, eventually, openSocket, rejected } from '../support/server.ts'
import { blockOf, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import {
  ADMIN_SOCKET,
  haproxyServersUp,
  type Instance,
  QUICK_CHECKS,
  type RunningProxy,
  startInstance,
  startProxy,
  stopProxies,
} from './support/proxy.ts'

describe('HAProxy with the configuration of its guide', () => {
  needs('haproxy')
  const config = blockOf('guides/haproxy.md', 'haproxy.cfg')

  afterEach(async () => {
    await stopProxies()
    await cleanUp()
    removeFolders()
  })

  /**
   * Starts HAProxy with the configuration of the guide in front of two instances; `changes`
   * replace lines.
   */
  async function start(
    [one, two]: readonly [Instance, Instance],
    changes: [string, string][] = [],
  ): Promise<RunningProxy & { port: number }> {
    const port = await freePort()
    const all: [string, string][] = [
      ['global\n', ADMIN_SOCKET],
      ['bind :80', `bind 127.0.0.1:${port}`],
      ['127.0.0.1:3001', `127.0.0.1:${one.port}`],
      ['127.0.0.1:3002', `127.0.0.1:${two.port}`],
      ...changes,
    ]
    const folder = readerFolder()
    const changed = all.reduce((text, [from, to]) => replaceOnce(text, from, to), config)
    writeFileSync(join(folder, 'haproxy.cfg'), changed)
    const proxy = await startProxy('haproxy', ['-W', '-f', 'haproxy.cfg'], folder, port)
    // With an interval of an hour, the second server is unchecked in this test.
    if (!changes.some(([, to]) => to === 'inter 1h')) await haproxyServersUp(folder, 2)
    return { ...proxy, port }
  }

  const instances = (
    options?: Parameters<typeof startInstance>[0],
  ): Promise<[Instance, Instance]> => Promise.all([startInstance(options), startInstance(options)])

  it('forwards upgrades with the address of the client, and balances them', async () => {
    const [one, two] = await instances()
    const { port } = await start([one, two])
    const forged = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-host': 'a.example' }
    const origin = `http://127.0.0.1:${port}`
    for (let i = 0; i < 10; i++) {
      const socket = await openSocket(port, '/', { headers: { ...forged, origin } })
      expect(await socket.next()).to.equal(`127.0.0.1 http 127.0.0.1:${port}`)
      socket.send('hello')
      expect(await socket.next()).to.equal('hello')
    }
    expect([one.accepted, two.accepted]).to.deep.equal([5, 5])
    const strange = openSocket(port, '/', { headers: { origin: 'https://a.example' } })
    expect((await rejected(strange)).status).to.equal(403)
  })

  it('cuts a silent WebSocket after timeout tunnel, and a heartbeat prevents that', async () => {
    const beating = await startInstance({ heartbeat: { interval: 400, timeout: 400 } })
    const silent = await startInstance({ heartbeat: false })
    const short: [string, string][] = [['timeout tunnel 90s', 'timeout tunnel 1s']]
    const [withBeat, without] = [
      await start([beating, beating], short),
      await start([silent, silent], short),
    ]
    const kept = await openSocket(withBeat.port)
    const started = Date.now()
    const cut = await openSocket(without.port)
    expect((await cut.closed).code).to.equal(1006)
    expect(Date.now() - started).to.be.at.least(900)
    const again = await openSocket(without.port)
    expect((await again.closed).code).to.equal(1006)
    expect(kept.readyState).to.equal(kept.OPEN)
    await kept.next()
    kept.send('still here')
    expect(await kept.next()).to.equal('still here')
  })

  it('sends no new client to a draining instance during readyDelay, and keeps its connections', async () => {
    const [one, two] = await instances()
    const { port } = await start([one, two], QUICK_CHECKS)
    const before = await Promise.all([openSocket(port), openSocket(port)])
    expect([one.accepted, two.accepted]).to.deep.equal([1, 1])
    const closing = one.hub.close({ readyDelay: 10_000, server: true })
    await eventually(() => one.unready > 2, 'HAProxy has seen two answers')
    const during = await Promise.all(Array.from({ length: 10 }, () => openSocket(port)))
    expect([one.accepted, two.accepted]).to.deep.equal([1, 11])
    for (const socket of [...before, ...during]) {
      await socket.next()
      socket.send('hello')
      expect(await socket.next()).to.equal('hello')
    }
    await closing
    expect((await Promise.race(before.map((socket) => socket.closed))).code).to.equal(1012)
    expect(before.filter((socket) => socket.readyState === socket.OPEN)).to.have.lengthOf(1)
  })

  it('retries a 503 of a draining instance before its check has failed', async () => {
    const [one, two] = await instances()
    const { port } = await start([one, two], [['inter 2s', 'inter 1h']])
    const mute = await openSocket(one.port)
    mute.pause() // sends no close frame, so that the instance keeps draining
    const closing = one.hub.close({ timeout: 3_000 })
    expect((await rejected(openSocket(one.port))).status).to.equal(503)
    const sockets = await Promise.all(Array.from({ length: 10 }, () => openSocket(port)))
    expect(two.accepted).to.equal(10)
    for (const socket of sockets) socket.terminate()
    mute.terminate()
    await closing
  })

  it('keeps WebSockets over a reload until hard-stop-after', async () => {
    const pair = await instances()
    const { port, child, printed } = await start(pair, [
      ['hard-stop-after 30m', 'hard-stop-after 2s'],
    ])
    const old = await openSocket(port)
    await old.next()
    const loaded = (): number => printed().match(/Loading success/g)?.length ?? 0
    await eventually(() => loaded() === 1, 'HAProxy is loaded')
    // HAProxy may miss a signal right after its start.
    for (let at = 0; !printed().includes('Reloading'); ) {
      if (Date.now() - at > 1_000) {
        at = Date.now()
        child.kill('SIGUSR2')
      }
      ;(await openSocket(port)).terminate()
    }
    while (loaded() < 2) (await openSocket(port)).terminate() // a process listens at every moment
    const started = Date.now()
    old.send('still here')
    expect(await old.next()).to.equal('still here')
    expect((await old.closed).code).to.equal(1006)
    expect(Date.now() - started).to.be.at.least(1_000)
    expect(await (await openSocket(port)).next()).to.include('127.0.0.1')
  })
})
