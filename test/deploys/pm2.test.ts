import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { pause, until } from '../adapters/cluster/support/mesh.ts'
import { freePort } from '../support/free-port.ts'
import { textFrame } from '../support/raw.ts'
import { cleanUp, openSocket } from '../support/server.ts'
import { blockOf, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import { Pm2 } from './support/pm2.ts'
import { closedBy, knockAgainAndAgain, openRaw } from './support/returning-client.ts'

const KILL_TIMEOUT =
  '      kill_timeout: 12_000, // above readyDelay + timeout of closeOnSignal()\n'

describe('PM2 with the files of its guide', function () {
  this.timeout(240_000)
  let pm2: Pm2
  /** The folder of the latest application. */
  let pm2Folder = ''
  const server = blockOf('guides/pm2.md', 'server.mjs')
  const starter = blockOf('guides/pm2.md', 'start.cjs')
  const config = blockOf('guides/pm2.md', 'ecosystem.config.cjs')

  before(() => {
    pm2 = new Pm2()
  })

  afterEach(cleanUp)

  after(async () => {
    await pm2.kill()
    removeFolders()
  })

  /** Starts the application of the guide with these changes. */
  async function start(
    name: string,
    change: (config: string) => string,
    more = '',
  ): Promise<number> {
    const folder = readerFolder()
    pm2Folder = folder
    const port = await freePort()
    writeFileSync(join(folder, 'server.mjs'), server + more)
    writeFileSync(join(folder, 'start.cjs'), starter)
    const named = replaceOnce(config, `name: 'live'`, `name: '${name}', vizion: false`)
    writeFileSync(join(folder, 'ecosystem.config.cjs'), change(named))
    await pm2.run(['start', 'ecosystem.config.cjs'], folder, { PORT: String(port) })
    return port
  }

  /**
   * Returns the workers that answer new clients; under load the primary does not always alternate.
   */
  async function workers(port: number, count = 2): Promise<Set<number>> {
    const seen = new Set<number>()
    for (let i = 0; i < 4 || (seen.size < count && i < 40); i++) {
      const socket = await openSocket(port, '/live')
      socket.send('who')
      seen.add(((await socket.nextJson()) as { worker: number }).worker)
      socket.terminate()
    }
    return seen
  }

  /** Returns the result of the readiness route; an empty object when no worker answers. */
  async function ready(
    port: number,
  ): Promise<{ state?: string; instances?: number; expected?: number }> {
    try {
      return (await (await fetch(`http://127.0.0.1:${port}/ready`)).json()) as object
    } catch {
      return {}
    }
  }

  /** Returns the state of the workers of an application as PM2 lists it. */
  async function listed(name: string): Promise<{ status: string; restarts: number }[]> {
    const list = JSON.parse(await pm2.run(['jlist'])) as {
      name: string
      pm2_env: { status: string; restart_time: number }
    }[]
    return list
      .filter((one) => one.name === name)
      .map(({ pm2_env }) => ({ status: pm2_env.status, restarts: pm2_env.restart_time }))
  }

  it('reloads without a gap: connections close with 1012 and a delay, and a worker listens at every moment', async () => {
    const port = await start('live', (text) => text)
    let before = await workers(port)
    expect(before.size).to.equal(2)
    for (const round of [1, 2]) {
      const clients = await Promise.all(Array.from({ length: 30 }, () => openRaw(port, '/live')))
      const ends = clients.map(closedBy)
      const knocking = knockAgainAndAgain(port, '/live')
      await pm2.run(['reload', 'live'])
      const seen = await knocking.stop()
      for (const { code, reason } of await Promise.all(ends)) {
        expect(code).to.equal(1012)
        expect(reason).to.match(/^restart, retry in \d+ ms$/)
      }
      expect(seen['101']).to.be.above(0)
      // A client that an old worker had just accepted gets a 503 with Retry-After; all others
      // connect.
      expect(Object.keys(seen)).to.have.members([
        '101',
        ...(seen['503, come back'] ? ['503, come back'] : []),
      ])
      const now = await workers(port)
      expect(now.size).to.equal(2)
      for (const pid of before) expect(now.has(pid), `round ${round}: ${pid}`).to.equal(false)
      before = now
    }
    expect(pm2.log.match(/App \[live:_old_\d\] exited with code \[0\]/g)).to.have.lengthOf(4)
    expect(pm2.log).not.to.include('SIGKILL')
    expect(pm2.printed('live', 'error'), 'no hint, no error').to.equal('')
  })

  it('connects the workers without Redis', async () => {
    const port = await start('joined', (text) => text)
    const listener = await openSocket(port, '/live')
    const workers = new Set<number>()
    const sockets = [listener]
    for (let i = 0; i < 3 || (workers.size < 2 && i < 40); i++) {
      const socket = await openSocket(port, '/live')
      sockets.push(socket)
      socket.send(String(i))
      workers.add(((await listener.nextJson()) as { worker: number }).worker)
    }
    expect(workers.size).to.equal(2)
    const heard = sockets.map(() => new Set<string>())
    for (const [i, socket] of sockets.entries()) {
      socket.on('message', (data: Buffer) => heard[i]?.add(JSON.parse(String(data)).said))
    }
    for (const [i, socket] of sockets.entries()) socket.send(`from ${i}`)
    await until('all hear all', () =>
      heard.every((said) => sockets.every((_, i) => said.has(`from ${i}`))),
    )
    const { state, instances, expected } = await ready(port)
    expect({ state, instances, expected }).to.deep.equal({
      state: 'ready',
      instances: 1,
      expected: 2,
    })
    await pm2.run(['delete', 'joined'])
  })

  it('warns about the default kill_timeout, which kills workers during the drain', async () => {
    const port = await start('hasty', (text) => replaceOnce(text, KILL_TIMEOUT, ''))
    const hints = (): RegExpExecArray[] => [
      ...pm2
        .printed('hasty', 'error')
        .matchAll(/\(node:(\d+)\) \[KOAWS_KILL_TIMEOUT\] KoaWsWarning: .*/g),
    ]
    await until('each worker has hinted at it', () => hints().length >= 2)
    // PM2 starts a third process for a worker that ended, so the hints are counted by process.
    const processes = hints().map(([, pid]) => pid)
    expect([...new Set(processes)], pm2.printed('hasty', 'error')).to.deep.equal(processes)
    expect(hints()[0]?.[0])
      .to.include('1600 ms')
      .and.to.include('8000 ms')
      .and.to.include('10000 or more')
    const mute = await openRaw(port, '/live') // sends no close frame
    await pm2.run(['delete', 'hasty'])
    expect(await mute.closeCode()).to.equal(1012)
    expect(pm2.log).to.match(/still alive after 1600ms, sending SIGKILL/)
  })

  it('warns in fork mode about a kill_timeout equal to the drain', async () => {
    await start('forked', (text) => {
      const forked = replaceOnce(
        text,
        `exec_mode: 'cluster',\n      instances: 2,`,
        `exec_mode: 'fork',`,
      )
      return replaceOnce(forked, '12_000', '8_000')
    })
    await until('it is hinted at', () =>
      /KOAWS_KILL_TIMEOUT.* 8000 ms after/.test(pm2.printed('forked', 'error')),
    )
  })

  it('drains on a message for stop, and on SIGINT for reload, with shutdown_with_message', async () => {
    const told = `
      for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => console.log('told', name))
      process.on('message', (message) => console.log('told', message))`
    const port = await start(
      'message',
      (text) => replaceOnce(text, 'instances: 2,', 'instances: 1, shutdown_with_message: true,'),
      told,
    )
    const one = await openRaw(port, '/live')
    const end = closedBy(one)
    await pm2.run(['reload', 'message'])
    expect((await end).code).to.equal(1012)
    expect(pm2.printed('message', 'out')).to.equal('told SIGINT\n')
    const two = await openRaw(port, '/live')
    two.write(textFrame('hi'))
    const last = closedBy(two)
    await pm2.run(['stop', 'message'])
    expect((await last).code).to.equal(1012)
    expect(pm2.printed('message', 'out')).to.equal('told SIGINT\ntold shutdown\n')
    expect(pm2.log.match(/App \[message:\w+\] exited with code \[0\]/g)).to.have.lengthOf(2)
  })

  it('reports degraded while a worker is missing', async () => {
    const port = await start('few', (text) => text)
    const expectState = async (wanted: string): Promise<void> => {
      for (;;) {
        const { state, expected } = await ready(port)
        if (state === wanted && expected === 2) return
        await pause(100)
      }
    }
    await expectState('ready')
    const [id] = JSON.parse(await pm2.run(['id', 'few'])) as number[]
    await pm2.run(['stop', String(id)])
    await expectState('degraded')
    await pm2.run(['start', String(id)])
    await expectState('ready')
    await pm2.run(['delete', 'few'])
  })

  it('restarts a version that throws at start until it is errored, and the readiness check fails', async () => {
    const port = await start('broken', (text) => replaceOnce(text, '10_000', '1_000'))
    for (const { status } of await listed('broken')) expect(status).to.equal('online')
    writeFileSync(join(pm2Folder, 'server.mjs'), `throw new Error('this version is broken')`)
    await pm2.run(['reload', 'broken']).catch(() => {})
    for (;;) {
      const workers = await listed('broken')
      if (workers.every(({ status, restarts }) => status === 'errored' || restarts > 3)) break
      await pause(100)
    }
    expect(await ready(port)).to.deep.equal({})
    expect(pm2.printed('broken', 'error')).to.include('this version is broken')
    await pm2.run(['delete', 'broken'])
  })

  it('keeps a version that throws at start online without the start file', async () => {
    const port = await start(
      'hidden',
      (text) => replaceOnce(replaceOnce(text, '10_000', '1_000'), 'start.cjs', 'server.mjs'),
      `\nthrow new Error('this version is broken')`,
    )
    await until('it has thrown', () => pm2.printed('hidden', 'error').includes('is broken'))
    const online = { status: 'online', restarts: 0 }
    expect(await listed('hidden')).to.deep.equal([online, online])
    expect(port).to.be.above(0)
    await pm2.run(['delete', 'hidden'])
  })
})
