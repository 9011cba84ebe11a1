import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { freePort } from './free-port.ts'
import { pathOf } from './programs.ts'

/** A Redis of a test: on loopback, without persistence, in a folder of its own. */
export interface TestRedis {
  readonly port: number
  readonly pid: number
  /** Sends SIGKILL. */
  kill(): Promise<void>
  /** Sends SIGSTOP: Redis hangs, and its connections stay. */
  stop(): void
  /** Sends SIGCONT. */
  go(): void
  /** Starts it again on the same port. */
  start(): Promise<void>
  /** Runs one command. */
  command(...words: string[]): Promise<string>
}

const running = new Set<ChildProcess>()
const folders = new Set<string>()
/** Proxies that `stopRedis` closes, too. */
export const proxies = new Set<{ close(): void }>()

/** Starts a Redis. @param lines of its configuration */
export async function startRedis(lines: readonly string[] = []): Promise<TestRedis> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'koaws-redis-'))
  folders.add(folder)
  const config = join(folder, 'redis.conf')
  const fixed = ['bind 127.0.0.1', `port ${port}`, 'save ""', 'appendonly no', `dir ${folder}`]
  writeFileSync(config, [...fixed, ...lines].join('\n'))
  let child: ChildProcess
  const start = async (): Promise<void> => {
    child = spawn(pathOf('redis-server'), [config], { stdio: 'ignore' })
    running.add(child)
    child.once('exit', () => running.delete(child))
    await answers(port)
  }
  await start()
  return {
    port,
    get pid() {
      return child.pid as number
    },
    async kill() {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
    stop: () => void child.kill('SIGSTOP'),
    go: () => void child.kill('SIGCONT'),
    start,
    command: (...words) => command(port, words),
  }
}

/** Starts three masters that share the slots. */
export async function startRedisCluster(): Promise<TestRedis[]> {
  const lines = [
    'cluster-enabled yes',
    'cluster-node-timeout 2000',
    'cluster-require-full-coverage no',
  ]
  const nodes = await Promise.all([0, 1, 2].map(() => startRedis(lines)))
  const [first, ...others] = nodes as [TestRedis, ...TestRedis[]]
  for (const [i, node] of nodes.entries()) {
    const [from, to] = [Math.floor((i * 16_384) / 3), Math.floor(((i + 1) * 16_384) / 3) - 1]
    await node.command('cluster', 'addslotsrange', String(from), String(to))
  }
  for (const node of others) await first.command('cluster', 'meet', '127.0.0.1', String(node.port))
  await until(async () => {
    const states = await Promise.all(nodes.map((node) => node.command('cluster', 'info')))
    return states.every((text) => /cluster_state:ok/.test(text) && /known_nodes:3/.test(text))
  })
  return nodes
}

/** A port in front of a Redis. Its connections can be cut, or sent to another port. */
export interface RedisProxy {
  readonly port: number
  /** Cuts all connections, and refuses new ones. */
  cut(): void
  /** Delays each chunk of bytes by this many milliseconds after the previous one; 0 ends that. */
  lag(ms: number): void
  /** Accepts connections again, from now on for this port. */
  heal(target?: number): void
  /** Cuts all connections, and stops listening. */
  close(): void
}

export async function startProxy(target: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>()
  let to: number | null = target
  let pause = 0
  const lane = (): Transform =>
    new Transform({
      transform(chunk, _encoding, pass) {
        if (pause > 0) setTimeout(pass, pause, null, chunk)
        else pass(null, chunk)
      },
    })
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((socket) => {
    if (to === null) {
      socket.destroy()
      return
    }
    const other = connect(to, '127.0.0.1')
    for (const one of [socket, other]) keep(one)
    socket.pipe(lane()).pipe(other)
    other.pipe(lane()).pipe(socket)
    socket.on('close', () => other.destroy())
    other.on('close', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    to = null
    for (const socket of sockets) socket.destroy()
  }
  const close = (): void => {
    cut()
    server.close()
    proxies.delete(proxy)
  }
  const proxy = { close }
  proxies.add(proxy)
  return {
    close,
    port: (server.address() as { port: number }).port,
    cut,
    lag(ms) {
      pause = ms
    },
    heal(next = target) {
      to = next
    },
  }
}

/** Ends everything that this file has started. */
export async function stopRedis(): Promise<void> {
  for (const proxy of proxies) proxy.close()
  proxies.clear()
  const gone = [...running].map((child) => once(child, 'exit'))
  for (const child of running) child.kill('SIGKILL')
  await Promise.all(gone)
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  folders.clear()
}

function answers(port: number): Promise<void> {
  return until(async () => (await command(port, ['ping']).catch(() => '')).includes('PONG'))
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('Redis is not ready after 10 s')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Runs one command on a new connection, and returns the raw answer. */
function command(port: number, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('error', reject)
    socket.on('data', (data) => {
      text += data
      socket.end()
    })
    socket.on('close', () => resolve(text))
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    socket.write(`*${words.length}\r\n${parts.join('')}`)
  })
}
