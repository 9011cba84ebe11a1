import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { children, onCore } from './children.mjs'
import { ended } from './ended.mjs'

/** A redis-server on a free loopback port, without persistence, in its own folder. */
export async function startEngine(core = 0) {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'koaws-bench-redis-'))
  const options = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder]
  const [program, ...args] = onCore(core, [
    'redis-server',
    ...options,
    '--save',
    '',
    '--appendonly',
    'no',
  ])
  const child = spawn(program, args, { stdio: 'ignore' })
  const engine = {
    port,
    pid: child.pid,
    async stop() {
      children.delete(engine)
      await ended(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
  children.add(engine)
  child.on('error', (error) => {
    engine.error = error
  })
  for (let i = 0; i < 250; i++) {
    if (engine.error) break
    if ((await ask(port, 'PING\r\n')).startsWith('+PONG')) return engine
    await sleep(20)
  }
  await engine.stop()
  throw new Error(`redis-server does not start: ${engine.error?.message ?? 'no answer in 5 s'}`)
}

/** The version of the installed redis-server, such as "7.0.15"; null where it says none. */
export async function redisVersion() {
  const engine = await startEngine()
  try {
    return /redis_version:(\S+)/.exec(await ask(engine.port, 'INFO server\r\n'))?.[1] ?? null
  } finally {
    await engine.stop()
  }
}

/** CPU time of all living threads, in microseconds. */
export function cpuOf(pid) {
  let nanoseconds = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1')
    nanoseconds += Number(text.slice(0, text.indexOf(' ')))
  }
  return nanoseconds / 1000
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Runs one command on its own connection. Returns an empty text without an answer. */
function ask(port, command) {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(command))
    socket.setTimeout(1000, () => socket.destroy())
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
    socket.on('data', (data) => {
      text += data
      socket.end()
    })
  })
}
