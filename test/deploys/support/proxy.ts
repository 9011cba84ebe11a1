import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { accept, type Hub, type KoaWsOptions } from '../../../lib/index.ts'
import { type ProgramName, pathOf } from '../../support/programs.ts'
import { listen, makeApp, makeHub } from '../../support/server.ts'

/** An instance behind a proxy. */
export interface Instance {
  readonly hub: Hub
  readonly port: number
  /** The number of accepted connections. */
  accepted: number
  /** The number of 503 answers to readiness checks. */
  unready: number
}

/** Starts an app that greets clients with their address, protocol and host, and echoes. */
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

/** A running proxy. */
export interface RunningProxy {
  readonly child: ChildProcess
  /** Returns its output. */
  readonly printed: () => string
}

/**
 * HAProxy checks each server twice a second. Its limit for a check is the time to the next one, and
 * a healthy server counts as down when HAProxy or the server does not run for twice that long.
 */
export const QUICK_CHECKS: [string, string][] = [
  ['inter 2s', 'inter 500ms'],
  ['  timeout connect 2s\n', '  timeout connect 2s\n  timeout check 10s\n'],
]

/** The lines that enable the statistics of HAProxy, for `haproxyServersUp`. */
export const ADMIN_SOCKET = 'global\n  stats socket unix@admin.sock\n'

async function askHaproxy(folder: string): Promise<string> {
  const socket = connect(join(folder, 'admin.sock'))
  socket.end('show stat\n')
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

/**
 * Resolves when HAProxy has found this many servers up. It spreads its first checks over `inter`.
 */
export async function haproxyServersUp(folder: string, servers: number): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    const stat = await askHaproxy(folder).catch(String)
    if (stat.split('\n').filter((line) => /,UP,.*,L7OK,/.test(line)).length === servers) return
    if (Date.now() > deadline) throw new Error(`HAProxy's servers are not up:\n${stat}`)
    await wait(50)
  }
}

/** Starts a proxy in the foreground, and waits until it accepts connections. */
export async function startProxy(
  name: ProgramName,
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

/** Ends the proxies with their workers. */
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
