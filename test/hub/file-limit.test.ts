import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { fileLimitWarning, parseFileLimit } from '../../lib/hub/file-limit.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Ended {
  readonly lines: string[]
  readonly stderr: string
}

/**
 * Runs a server under a limit of file descriptors, calls `meet` with its port, and returns its
 * output.
 */
async function runUnder(
  limit: number,
  program: string,
  meet: (port: number) => Promise<void> = async () => {},
): Promise<Ended> {
  const text = `
    import Koa from 'koa'
    import { createServer } from 'node:http'
    import { koaWs } from './lib/index.ts'
    ${program}
  `
  const run = `ulimit -n ${limit}; exec "$0" --import=tsx --input-type=module --eval "$1"`
  const child = spawn('/bin/sh', ['-c', run, process.execPath, text], {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: 'production' },
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (data: string) => {
    stderr += data
  })
  const lines: string[] = []
  const closed = once(child, 'close')
  const reader = createInterface({ input: child.stdout })
  reader.on('line', (line) => {
    lines.push(line)
    if (lines.length > 1) return
    void meet(Number(line)).finally(() => child.stdin.end('done\n'))
  })
  await closed
  return { lines, stderr }
}

const warnings = (stderr: string): string[] =>
  stderr.match(/\[KOAWS_FILE_LIMIT\] KoaWsWarning: .*/g) ?? []

describe('the limit of file descriptors', () => {
  it('is read from /proc/self/limits', () => {
    const head = 'Limit                     Soft Limit           Hard Limit           Units     \n'
    const line = (soft: string): string =>
      `${head}Max open files            ${soft.padEnd(21)}1048576              files     \n`
    expect(parseFileLimit(line('1024'))).to.equal(1_024)
    expect(parseFileLimit(line('unlimited'))).to.equal(null)
    expect(parseFileLimit('')).to.equal(null)
  })

  it('causes a warning when it is low without maxConnections, or too low for maxConnections', () => {
    const cases: [limit: number | null, maxConnections: number, proposed: number | null][] = [
      [null, Infinity, null],
      [null, 1_000_000, null],
      [4_096, Infinity, null],
      [4_095, Infinity, 4_031],
      [200, Infinity, 136],
      [200, 136, null],
      [200, 137, 136],
      [20_000, 20_000, 19_936],
      [20_000, 10_000, null],
      [10, 10, 1],
    ]
    for (const [limit, maxConnections, proposed] of cases) {
      const warning = fileLimitWarning(limit, maxConnections)
      const title = `${limit} ${maxConnections}`
      if (proposed === null) expect(warning, title).to.equal(null)
      else expect(warning, title).to.include(`open ${limit} `).and.to.include(`to ${proposed} or`)
    }
  })

  describe('of a process on Linux', () => {
    before(function () {
      if (process.platform !== 'linux') this.skip()
    })

    const attached = (options: string): string => `
      const app = new Koa()
      for (let i = 0; i < 2; i++) koaWs(${options}).attach(createServer(app.callback()))
    `

    it('causes one warning at hub.attach(), in production too', async () => {
      const { stderr } = await runUnder(200, attached(''))
      expect(warnings(stderr)).to.have.lengthOf(1)
      expect(warnings(stderr)[0]).to.include('200 files').and.to.include('no "maxConnections"')
    })

    it('causes no warning when maxConnections fits', async () => {
      const { stderr } = await runUnder(200, attached('{ maxConnections: 100 }'))
      expect(warnings(stderr)).to.deep.equal([])
    })

    it('causes a warning at the first request when no server is attached', async () => {
      const { stderr } = await runUnder(
        200,
        `
        const app = new Koa()
        app.use(koaWs({ maxConnections: 500 }))
        const server = app.listen(0, '127.0.0.1', async () => {
          await (await fetch('http://127.0.0.1:' + server.address().port)).text()
          server.close()
          server.closeAllConnections()
        })
        `,
      )
      expect(warnings(stderr)).to.have.lengthOf(1)
      expect(warnings(stderr)[0]).to.include('"maxConnections" is 500')
    })

    it('rejects clients without an event of Node, so no drop is counted', async () => {
      const { lines, stderr } = await runUnder(
        100,
        `
        const app = new Koa()
        const hub = koaWs({ maxConnections: 10 })
        app.use(hub)
        const server = createServer(app.callback())
        hub.attach(server)
        const told = []
        for (const event of ['error', 'drop', 'clientError']) server.on(event, () => told.push(event))
        server.listen(0, '127.0.0.1', () => console.log(server.address().port))
        process.stdin.once('data', () => {
          console.log(JSON.stringify([told, hub.status().drops]))
          process.exit()
        })
        `,
        meetWith(200),
      )
      expect(lines[1], stderr).to.equal('[[],{}]')
    })
  })
})

/**
 * Connects this many clients, and resolves once a client that the server did not accept has
 * ended.
 */
function meetWith(clients: number): (port: number) => Promise<void> {
  return async (port) => {
    const sockets: Socket[] = []
    await new Promise<void>((resolve) => {
      for (let i = 0; i < clients; i++) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => resolve())
        socket.on('end', resolve)
        sockets.push(socket)
      }
    })
    for (const socket of sockets) socket.destroy()
  }
}
