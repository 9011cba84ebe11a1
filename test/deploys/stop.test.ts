import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { freePort } from '../support/free-port.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { cleanUp, openSocket, rejected } from '../support/server.ts'
import { blockOf, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import { openRaw } from './support/returning-client.ts'

/** The signals of systemd, Docker and Kubernetes: to one process, or to a process group. */
describe('a process that receives SIGTERM', () => {
  const children: ChildProcess[] = []
  const server = replaceOnce(
    blockOf('guides/shutdown.md', 'server.mjs'),
    'readyDelay: 1_000',
    'readyDelay: 1_500',
  )

  afterEach(async () => {
    await cleanUp()
    for (const child of children.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        process.kill(-(child.pid as number), 'SIGKILL')
        await once(child, 'exit')
      }
    }
    removeFolders()
  })

  /** Starts the program of the guide as the leader of a process group. */
  async function start(
    command: string,
    args: string[],
  ): Promise<{ child: ChildProcess; port: number }> {
    const folder = readerFolder()
    const port = await freePort()
    writeFileSync(join(folder, 'server.mjs'), server)
    const scripts = { start: 'node server.mjs' }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', scripts }))
    const child = spawn(command, args, {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '', PORT: String(port) },
      stdio: 'ignore',
      detached: true,
    })
    children.push(child)
    const deadline = Date.now() + 15_000
    while ((await readiness(port)) !== 200) {
      if (Date.now() > deadline) throw new Error('it does not listen')
    }
    return { child, port }
  }

  async function readiness(port: number): Promise<number> {
    return fetch(`http://127.0.0.1:${port}/ready`).then(
      ({ status }) => status,
      () => 0,
    )
  }

  it('becomes unready, accepts upgrades during readyDelay, then rejects them with 503, and exits with 0', async () => {
    const { child, port } = await start(process.execPath, ['server.mjs'])
    const mute = await openRaw(port, '/live') // delays the shutdown: it sends no close frame
    expect(await mute.textFrame()).to.equal('hello')
    child.kill('SIGTERM')
    while ((await readiness(port)) === 200);
    expect(await readiness(port)).to.equal(503)
    const late = await openSocket(port, '/live')
    expect(await late.next()).to.equal('hello')
    // The server has accepted this socket before, and its upgrade arrives during the drain.
    const waiting = await rawClient(port)
    waiting.write('GET /live HTTP/1.1\r\n')
    expect(await readiness(port), 'upgrades still work').to.equal(503)
    expect((await late.closed).code).to.equal(1012)
    expect(await mute.closeCode()).to.equal(1012)
    waiting.write(handshake('/live').slice('GET /live HTTP/1.1\r\n'.length))
    const answer = await waiting.answer()
    expect([answer.status, answer.headers.get('retry-after')]).to.deep.equal([503, ['5']])
    const error = await rejected(openSocket(port, '/live')).catch((other: Error) => other)
    expect((error as NodeJS.ErrnoException).code).to.equal('ECONNREFUSED')
    mute.reset()
    expect(await once(child, 'exit')).to.deep.equal([0, null])
  })

  it('drains once when npm forwards a signal that the whole process group received', async () => {
    const { child, port } = await start('npm', ['start', '--silent'])
    const sockets = await Promise.all([openSocket(port, '/live'), openSocket(port, '/live')])
    const started = Date.now()
    const ended = once(child, 'exit')
    process.kill(-(child.pid as number), 'SIGTERM') // like systemd, and like Ctrl-C with SIGINT
    for (const socket of sockets) {
      const { code, reason } = await socket.closed
      expect(code).to.equal(1012)
      expect(reason).to.match(/^restart, retry in \d+ ms$/)
    }
    expect(Date.now() - started, 'readyDelay was kept').to.be.at.least(1_400)
    await ended
  })
})
