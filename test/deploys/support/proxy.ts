import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { accept, type Hub, type KoaWsOptions } from '../../../lib/index.ts'
import { listen, makeApp, makeHub } from '../../support/server.ts'

/** One instance behind a proxy. */
export interface Instance {
  readonly hub: Hub
  readonly port: number
  /** How many connections it has accepted. */
  accepted: number
  /** How often it said that it is not ready. */
  unready: number
}

/** An app that tells its clients their number and their address, and echoes. */
export async function startInstance(options?: KoaWsOptions): Promise<Instance> {
  const { app } = makeApp({ proxy: true })
  const hub = makeHub(options)
  app.use(hub)
  app.use((ctx, next) => {
    if (ctx.path !== '/ready') return next()
    ctx.status = hub.status().ready ? 200 : 503
    if (ctx.status === 503) instance.unready++
    return undefined
  })
  app.use(
    accept((connection, ctx) => {
      instance.accepted++
      connection.send(`${ctx.ip} ${ctx.protocol} ${ctx.host}`)
      connection.on('message', (data) => connection.send(data.toString()))
    }),
  )
  const server = createServer(app.callback())
  hub.attach(server)
  const instance: Instance = { hub, port: await listen(server), accepted: 0, unready: 0 }
  return instance
}

const proxies = new Set<ChildProcess>()

/** A proxy that runs. */
export interface RunningProxy {
  readonly child: ChildProcess
  /** What it has printed. */
  readonly printed: () => string
}

/** Start a proxy in the foreground, and wait until it takes connections. */
export async function startProxy(
  name: string,
  args: string[],
  folder: string,
  port: number,
): Promise<RunningProxy> {
  const child = spawn(pathOf(name), args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  proxies.add(child)
  const deadline = Date.now() + 10_000
  while (!(await takesConnections(port))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name}: ${errors}`)
    await wait(20)
  }
  return { child, printed: () => errors }
}

/** End the proxies with their workers. */
export async function stopProxies(): Promise<void> {
  for (const child of proxies) {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
    }
  }
  proxies.clear()
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

function pathOf(name: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (!found) throw new Error(`${name} is not installed`)
  return found
}
