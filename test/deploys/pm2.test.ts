import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { textFrame } from '../support/raw.ts'
import { cleanUp, openSocket, soon } from '../support/server.ts'
import { blockOf, freePort, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import { Pm2 } from './support/pm2.ts'
import { closedBy, knockAgainAndAgain, openRaw } from './support/returning-client.ts'

const KILL_TIMEOUT =
  '      kill_timeout: 12_000, // above readyDelay + timeout of closeOnSignal()\n'

describe('PM2, as its guide says', function () {
  this.timeout(60_000)
  let pm2: Pm2
  const server = blockOf('guides/pm2.md', 'server.mjs')
  const config = blockOf('guides/pm2.md', 'ecosystem.config.cjs')

  before(() => {
    pm2 = new Pm2()
  })

  afterEach(cleanUp)

  after(async () => {
    await pm2.kill()
    removeFolders()
  })

  /** Start an application: the guide's, changed. */
  async function start(
    name: string,
    change: (config: string) => string,
    more = '',
  ): Promise<number> {
    const folder = readerFolder()
    const port = await freePort()
    writeFileSync(join(folder, 'server.mjs'), server + more)
    const named = replaceOnce(config, `name: 'live'`, `name: '${name}', vizion: false`)
    writeFileSync(join(folder, 'ecosystem.config.cjs'), change(named))
    await pm2.run(['start', 'ecosystem.config.cjs'], folder, { PORT: String(port) })
    return port
  }

  /** The workers that speak to a member of the lobby. */
  async function workers(port: number): Promise<Set<number>> {
    const seen = new Set<number>()
    for (let i = 0; i < 4; i++) {
      const socket = await openSocket(port, '/live')
      socket.send('who')
      seen.add(((await socket.nextJson()) as { worker: number }).worker)
      socket.terminate()
    }
    return seen
  }

  it('a reload closes with 1012 and a time, and someone listens at any moment', async () => {
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
      expect(seen['101']).to.be.above(20)
      // Whom an old worker had taken just before may be told to come back; nobody else.
      expect(Object.keys(seen)).to.have.members([
        '101',
        ...(seen['503, come back'] ? ['503, come back'] : []),
      ])
      expect(seen['503, come back'] ?? 0).to.be.below(5)
      const now = await workers(port)
      expect(now.size).to.equal(2)
      for (const pid of before) expect(now.has(pid), `round ${round}: ${pid}`).to.equal(false)
      before = now
    }
    expect(pm2.log.match(/App \[live:_old_\d\] exited with code \[0\]/g)).to.have.lengthOf(4)
    expect(pm2.log).not.to.include('SIGKILL')
    expect(pm2.printed('live', 'error'), 'no hint, no error').to.equal('')
  })

  it('the workers are joined without Redis', async () => {
    const port = await start('joined', (text) => text)
    const sockets = await Promise.all(Array.from({ length: 4 }, () => openSocket(port, '/live')))
    for (const [i, socket] of sockets.entries()) socket.send(String(i))
    for (const socket of sockets) {
      const heard = await Promise.all(
        sockets.map(() => socket.nextJson() as Promise<{ said: string; worker: number }>),
      )
      expect(heard.map(({ said }) => said).sort()).to.deep.equal(['0', '1', '2', '3'])
      expect(new Set(heard.map(({ worker }) => worker)).size).to.equal(2)
    }
    await pm2.run(['delete', 'joined'])
  })

  it('the default kill_timeout is hinted at, and kills in the middle', async () => {
    const port = await start('hasty', (text) => replaceOnce(text, KILL_TIMEOUT, ''))
    await soon(() => {
      const hints = pm2.printed('hasty', 'error').match(/\[KOAWS_KILL_TIMEOUT\] KoaWsWarning: .*/g)
      expect(hints, 'one for each worker').to.have.lengthOf(2)
      expect(hints?.[0])
        .to.include('1600 ms')
        .and.to.include('8000 ms')
        .and.to.include('10000 or more')
    })
    const mute = await openRaw(port, '/live') // does not answer the close frame
    await pm2.run(['delete', 'hasty'])
    expect(await mute.closeCode()).to.equal(1012)
    expect(pm2.log).to.match(/still alive after 1600ms, sending SIGKILL/)
  })

  it('a kill_timeout that is just the drain is hinted at, in fork mode too', async () => {
    await start('forked', (text) => {
      const forked = replaceOnce(
        text,
        `exec_mode: 'cluster',\n      instances: 2,`,
        `exec_mode: 'fork',`,
      )
      return replaceOnce(forked, '12_000', '8_000')
    })
    await soon(() => {
      expect(pm2.printed('forked', 'error')).to.match(/KOAWS_KILL_TIMEOUT.* 8000 ms after/)
    })
  })

  it('shutdown_with_message: a message for stop, and SIGINT for reload', async () => {
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
})
