import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { closeFrame, handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, makeHub, openSocket, rejected } from '../support/server.ts'
import type { SignalServer } from '../support/signal-server.ts'

const PROGRAM = fileURLToPath(new URL('../support/signal-server.ts', import.meta.url))

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/** Waits until a further signal counts as a second stop, not as a repetition of the first. */
const secondStop = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 600))

/** A child process and the lines that it prints. */
class Process {
  readonly lines: string[] = []
  readonly child: ChildProcess
  /** Its exit code, or the signal that killed it. */
  readonly ended: Promise<number | string>
  ports: number[] = []
  #wake: (() => void)[] = []
  #over = false

  constructor(child: ChildProcess) {
    this.child = child
    const reader = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> })
    reader.on('line', (line) => {
      this.lines.push(line)
      for (const wake of this.#wake.splice(0)) wake()
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#over = true
      for (const wake of this.#wake.splice(0)) wake()
      return code ?? signal
    })
  }

  get port(): number {
    return this.ports[0] as number
  }

  /** Waits for a line with this beginning. */
  async line(start: string): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => line.startsWith(start))
      if (found !== undefined) return found
      if (this.#over) throw new Error(`it ended without "${start}": ${this.lines.join(', ')}`)
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /** The lines since it began to listen. */
  get since(): string[] {
    return this.lines.filter((line) => !line.startsWith('ports'))
  }
}

describe('hub.closeOnSignal()', () => {
  const running: Process[] = []

  afterEach(async () => {
    await cleanUp()
    for (const { child } of running.splice(0)) child.kill('SIGKILL')
  })

  async function start(config: SignalServer = {}, ipc = false): Promise<Process> {
    const args = [JSON.stringify(config)]
    const child = ipc
      ? fork(PROGRAM, args, {
          execArgv: ['--import=tsx'],
          stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
        })
      : spawn(process.execPath, ['--import=tsx', PROGRAM, ...args], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
    const started = new Process(child)
    running.push(started)
    const line = await started.line('ports')
    started.ports = line.split(' ').slice(1).map(Number)
    return started
  }

  for (const signal of SIGNALS) {
    it(`closes with 1012, waits for "after", and exits with 0 on ${signal}`, async () => {
      const server = await start({ after: 'slow' })
      const sockets = await Promise.all([openSocket(server.port), openSocket(server.port)])
      server.child.kill(signal)
      for (const socket of sockets) {
        const { code, reason } = await socket.closed
        expect([code, reason]).to.deep.equal([1012, reason])
        expect(reason).to.match(/^restart, retry in \d+ ms$/)
      }
      expect(await server.ended).to.equal(0)
      expect(server.since).to.deep.equal(['after 0', 'after done', 'exit 0 0'])
    })
  }

  it('closes without "after" and without clients', async () => {
    const server = await start()
    server.child.kill('SIGTERM')
    expect(await server.ended).to.equal(0)
    expect(server.since).to.deep.equal(['exit 0 0'])
  })

  it('replies to every message that arrived before the signal', async () => {
    const server = await start()
    const socket = await openSocket(server.port)
    for (let i = 0; i < 10; i++) socket.send(`job ${i}`)
    // All messages are in one packet: the first reply shows that the server has read them.
    expect(await socket.next()).to.equal('done job 0')
    server.child.kill('SIGTERM')
    for (let i = 1; i < 10; i++) expect(await socket.next()).to.equal(`done job ${i}`)
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(0)
  })

  it('exits at the timeout when a handler hangs and the client does not answer', async () => {
    const server = await start({ stuck: true, after: 'ok', options: { timeout: 800 } })
    const client = await rawClient(server.port)
    client.write(handshake('/'))
    expect((await client.answer()).status).to.equal(101)
    client.write(textFrame('go'))
    await server.line('stuck')
    const started = Date.now()
    server.child.kill('SIGTERM')
    expect(await server.ended).to.equal(0)
    expect(Date.now() - started).to.be.at.least(780)
    expect(server.since).to.deep.equal(['stuck', 'after 0', 'exit 0 0'])
  })

  it('runs "after" when onDisconnect never settles', async () => {
    const server = await start({ disconnect: 'never', after: 'ok', options: { timeout: 500 } })
    const socket = await openSocket(server.port)
    const started = Date.now()
    server.child.kill('SIGTERM')
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(0)
    expect(server.since).to.deep.equal(['after 0', 'exit 0 0'])
    expect(Date.now() - started).to.be.at.least(480)
  })

  it('runs "after" when the backplane does not close, and exits with 1', async () => {
    const server = await start({ adapter: 'broken', after: 'ok' })
    const socket = await openSocket(server.port)
    server.child.kill('SIGTERM')
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(1)
    expect(server.since).to.deep.equal(['after 0', 'exit 1 0'])
  })

  for (const [first, second] of [
    ['SIGTERM', 'SIGTERM'],
    ['SIGTERM', 'SIGINT'],
  ] as const) {
    it(`exits at once with 1 on ${second} after ${first}`, async () => {
      const server = await start({ after: 'ok', options: { timeout: 600_000 } })
      const client = await rawClient(server.port) // does not answer the close frame
      client.write(handshake('/'))
      await client.answer()
      server.child.kill(first)
      expect(await client.closeCode()).to.equal(1012)
      await secondStop()
      server.child.kill(second)
      expect(await server.ended).to.equal(1)
      expect(server.since).to.deep.equal(['exit 1 1'])
    })
  }

  it('exits at once with 1 on a second signal while "after" runs', async () => {
    const server = await start({ after: 'never' })
    server.child.kill('SIGTERM')
    await server.line('after')
    await secondStop()
    server.child.kill('SIGTERM')
    expect(await server.ended).to.equal(1)
  })

  it('ignores signals that follow the first one immediately', async () => {
    const server = await start({ after: 'slow' })
    const socket = await openSocket(server.port)
    // All at once: on a busy machine 500 ms pass before a close frame comes back.
    for (const signal of ['SIGTERM', ...SIGNALS] as const) server.child.kill(signal)
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(0)
    expect(server.since).to.deep.equal(['after 0', 'after done', 'exit 0 0'])
  })

  for (const after of ['throw', 'reject'] as const) {
    it(`exits with 1 when "after" ${after}s`, async () => {
      const server = await start({ after })
      const socket = await openSocket(server.port)
      server.child.kill('SIGTERM')
      expect((await socket.closed).code).to.equal(1012)
      expect(await server.ended).to.equal(1)
      expect(server.since).to.deep.equal(['after 0', 'exit 1 0'])
    })
  }

  it('closes on the "shutdown" message of PM2, and on no other message', async () => {
    const server = await start({ after: 'ok' }, true)
    const socket = await openSocket(server.port)
    for (const message of ['shutdow', { shutdown: true }, null, 'SHUTDOWN']) {
      server.child.send(message as string)
    }
    socket.send('still there')
    expect(await socket.next()).to.equal('done still there')
    server.child.send('shutdown')
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(0)
    expect(server.since).to.deep.equal(['after 0', 'exit 0 0'])
  })

  it('counts a signal after the "shutdown" message as the second stop', async () => {
    const server = await start({ after: 'never' }, true)
    server.child.send('shutdown')
    await server.line('after')
    await secondStop()
    server.child.kill('SIGINT')
    expect(await server.ended).to.equal(1)
  })

  it('with pm2: false ignores the message; with other signals leaves SIGINT to Node', async () => {
    const server = await start({ options: { pm2: false, signals: ['SIGUSR2'] } }, true)
    const socket = await openSocket(server.port)
    server.child.send('shutdown')
    socket.send('still there')
    expect(await socket.next()).to.equal('done still there')
    server.child.kill('SIGUSR2')
    expect((await socket.closed).code).to.equal(1012)
    expect(await server.ended).to.equal(0)
    const other = await start({ options: { signals: ['SIGUSR2'] } })
    other.child.kill('SIGINT')
    expect(await other.ended).to.equal('SIGINT')
  })

  it('works in a node:cluster worker, as PM2 runs one, and keeps the worker alive until then', async () => {
    const program = `
      import cluster from 'node:cluster'
      cluster.setupPrimary({
        exec: ${JSON.stringify(PROGRAM)},
        args: ['{"after":"ok"}'],
        execArgv: ['--import=tsx'],
      })
      const worker = cluster.fork()
      process.on('SIGUSR2', () => worker.send('shutdown'))
      worker.on('exit', (code) => process.stdout.write('worker ' + code + '\\n'))`
    const args = ['--input-type=module', '-e', program]
    const primary = new Process(
      spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    running.push(primary)
    const port = Number((await primary.line('ports')).split(' ')[1])
    const socket = await openSocket(port)
    socket.send('hello')
    expect(await socket.next()).to.equal('done hello')
    primary.child.kill('SIGUSR2')
    expect((await socket.closed).code).to.equal(1012)
    expect(await primary.ended).to.equal(0)
    expect(primary.since).to.deep.equal(['after 0', 'exit 0 0', 'worker 0'])
  })

  it('closes all hubs of the process before it exits', async () => {
    const server = await start({ hubs: 2, after: 'slow' })
    const [first, second] = server.ports as [number, number]
    const mute = await rawClient(second) // answers late: its hub is the last to close
    mute.write(handshake('/'))
    await mute.answer()
    const socket = await openSocket(first)
    server.child.kill('SIGTERM')
    expect((await socket.closed).code).to.equal(1012)
    expect(await mute.closeCode()).to.equal(1012)
    await new Promise((resolve) => setTimeout(resolve, 100)) // the first hub is closed by now
    expect(server.since).to.deep.equal([])
    mute.write(closeFrame(1012))
    expect(await server.ended).to.equal(0)
    const lines = ['after 0 0', 'after done', 'after 0 0', 'after done', 'exit 0 0 0']
    expect(server.since).to.deep.equal(lines)
  })

  it('once undone, lets a signal kill the process as by default', async () => {
    for (const signal of SIGNALS) {
      const server = await start({ takeBack: true, after: 'ok' })
      const socket = await openSocket(server.port)
      server.child.kill(signal)
      expect((await socket.closed).code).to.equal(1006)
      expect(await server.ended).to.equal(signal)
      expect(server.since).to.deep.equal([])
    }
  })

  it('leaves no listener on process when it is undone', () => {
    const names = ['SIGTERM', 'SIGINT', 'SIGUSR2', 'message', 'exit', 'disconnect'] as const
    const count = (): number[] => names.map((name) => process.listenerCount(name))
    const before = count()
    const hubs = [makeHub(), makeHub()]
    const takeBack = hubs.map((hub) => hub.closeOnSignal())
    const other = hubs[0]?.closeOnSignal({ signals: ['SIGUSR2'], pm2: false })
    const during = before.map((many, i) => many + (i < 4 ? 1 : 0))
    expect(count(), 'one listener for all hubs').to.deep.equal(during)
    takeBack[0]?.()
    takeBack[0]?.()
    other?.()
    expect(process.listenerCount('SIGTERM'), 'the second hub still listens').to.equal(during[0])
    takeBack[1]?.()
    expect(count()).to.deep.equal(before)
    const again = hubs[0]?.closeOnSignal()
    expect(process.listenerCount('SIGTERM')).to.equal(during[0])
    again?.()
    expect(count()).to.deep.equal(before)
  })

  it('accepts upgrades during readyDelay, and closes after it', async () => {
    const server = await start({ options: { readyDelay: 3_000, timeout: 2_000 } })
    const before = await openSocket(server.port)
    const started = Date.now()
    server.child.kill('SIGTERM')
    const during = await openSocket(server.port)
    during.send('hello')
    expect(await during.next()).to.equal('done hello')
    for (const socket of [before, during]) expect((await socket.closed).code).to.equal(1012)
    expect(Date.now() - started).to.be.at.least(2_980)
    expect(await server.ended).to.equal(0)
  })

  it('refuses upgrades once it closes', async () => {
    const server = await start({ options: { timeout: 3_000 } })
    // Both sockets connect before the signal; the upgrade of `late` arrives after it.
    const [mute, late] = await Promise.all([rawClient(server.port), rawClient(server.port)])
    mute.write(handshake('/'))
    await mute.answer()
    late.write('GET / HTTP/1.1\r\n')
    server.child.kill('SIGTERM')
    expect(await mute.closeCode()).to.equal(1012)
    late.write(handshake('/').slice('GET / HTTP/1.1\r\n'.length))
    const { status, headers } = await late.answer()
    expect([status, headers.get('retry-after')]).to.deep.equal([503, ['5']])
    const error = await rejected(openSocket(server.port)).catch((other: Error) => other)
    expect((error as NodeJS.ErrnoException).code, 'the server listens no more').to.equal(
      'ECONNREFUSED',
    )
    mute.write(closeFrame(1012))
    expect(await server.ended).to.equal(0)
  })

  for (const ipc of [false, true]) {
    it(`does not keep a process alive${ipc ? ' that has an IPC channel' : ''}`, async () => {
      const server = await start({ alone: true }, ipc)
      expect(await server.ended).to.equal(0)
      expect(server.since).to.deep.equal(['exit 0 0'])
    })
  }

  it('warns once when PM2 kills the process before a shutdown can end', async () => {
    const config = JSON.stringify({ alone: true, hubs: 2, options: { readyDelay: 500 } })
    const child = spawn(process.execPath, ['--import=tsx', PROGRAM, config], {
      env: { ...process.env, pm_id: '0', PM2_HOME: '/pm2', kill_timeout: '10400' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    expect(await new Process(child).ended).to.equal(0)
    const warnings = errors.match(/\[KOAWS_KILL_TIMEOUT\] KoaWsWarning: .*/g) ?? []
    expect(warnings).to.have.lengthOf(1)
    expect(warnings[0]).to.include('10400 ms').and.to.include('10500 ms').and.to.include('12500 or')
  })

  it('throws for wrong options, and adds no listener', () => {
    const hub = makeHub()
    const before = process.listenerCount('SIGTERM')
    const wrong: [object, string][] = [
      [{ timout: 5_000 }, 'Did you mean "timeout"?'],
      [{ timeout: 10 }, 'seconds'],
      [{ timeout: -1 }, '"timeout"'],
      [{ readyDelay: '5s' }, '"readyDelay"'],
      [{ signals: 'SIGTERM' }, '"signals"'],
      [{ signals: [''] }, '"signals"'],
      [{ after: 'later' }, '"after"'],
      [{ pm2: 1 }, '"pm2"'],
    ]
    for (const [options, message] of wrong) {
      expect(() => hub.closeOnSignal(options as never), JSON.stringify(options)).to.throw(
        Error,
        message,
      )
    }
    expect(() => hub.closeOnSignal('SIGTERM' as never)).to.throw('an object of options')
    expect(process.listenerCount('SIGTERM')).to.equal(before)
  })

  it('throws for an unknown signal, and for a signal that cannot be caught', () => {
    const hub = makeHub()
    const before = process.listenerCount('SIGTERM')
    for (const name of ['SIGTREM', 'SIGKILL', 'SIGSTOP']) {
      expect(() => hub.closeOnSignal({ signals: ['SIGTERM', name] as never }), name).to.throw()
      expect(process.listenerCount('SIGTERM'), `after ${name}`).to.equal(before)
    }
  })
})
