import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Redis of a test: on loopback, without persistence, in a folder of its own. */
export interface TestRedis {
  readonly port: number
  readonly pid: number
  /** kill -9. */
  kill(): Promise<void>
  /** SIGSTOP: it hangs, and its connections stay. */
  stop(): void
  /** SIGCONT. */
  go(): void
  /** Start it again on the same port. */
  start(): Promise<void>
  /** Run one command, words and all. */
  command(...words: string[]): Promise<string>
}

const running = new Set<ChildProcess>()
const folders = new Set<string>()
const proxies = new Set<{ close(): void }>()

/** Start a Redis. @param lines of its configuration */
export async function startRedis(lines: readonly string[] = []): Promise<TestRedis> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'koaws-redis-'))
  folders.add(folder)
  const config = join(folder, 'redis.conf')
  const fixed = ['bind 127.0.0.1', `port ${port}`, 'save ""', 'appendonly no', `dir ${folder}`]
  writeFileSync(config, [...fixed, ...lines].join('\n'))
  let child: ChildProcess
  const start = async (): Promise<void> => {
    child = spawn('redis-server', [config], { stdio: 'ignore' })
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

/** Three masters that share the slots. */
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

/** A port in front of a Redis, whose connections can be cut, or led elsewhere. */
export interface RedisProxy {
  readonly port: number
  /** Cut all connections, and refuse new ones. */
  cut(): void
  /** Take connections again, from now on for this port. */
  heal(target?: number): void
}

export async function startProxy(target: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>()
  let to: number | null = target
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
    socket.pipe(other).pipe(socket)
    socket.on('close', () => other.destroy())
    other.on('close', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    to = null
    for (const socket of sockets) socket.destroy()
  }
  proxies.add({
    close() {
      cut()
      server.close()
    },
  })
  return {
    port: (server.address() as { port: number }).port,
    cut,
    heal(next = target) {
      to = next
    },
  }
}

/** End whatever this file has started. */
export async function stopRedis(): Promise<void> {
  for (const proxy of proxies) proxy.close()
  proxies.clear()
  const gone = [...running].map((child) => once(child, 'exit'))
  for (const child of running) child.kill('SIGKILL')
  await Promise.all(gone)
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  folders.clear()
}

async function freePort(): Promise<number> {
  // A cluster listens on the port above by 10,000 too.
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    server.close()
    await once(server, 'close')
    if (port < 55_000) return port
  }
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

/** One command over a connection of its own; the raw answer. */
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
