import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { contestants } from './contestants.mjs'
import { ended } from './ended.mjs'

/** All objects with a stop(): guarded() calls it at the end. */
export const children = new Set()

// Without pinning the scheduler moves server and client between cores and their caches.
export const pinned =
  process.env.PIN !== '0' &&
  process.platform === 'linux' &&
  availableParallelism() > 1 &&
  spawnSync('taskset', ['-V']).status === 0

const BUN = fileURLToPath(new URL('../node_modules/@oven/bun-linux-x64/bin/bun', import.meta.url))

/** The program that runs a server. @throws when Bun is not installed */
export function runtimeOf(runtime) {
  if (runtime !== 'bun') return process.execPath
  if (existsSync(BUN)) return BUN
  throw new Error('the optional package @oven/bun-linux-x64 is not installed (Linux on x64 only)')
}

export function onCore(core, command) {
  return pinned ? ['taskset', '-c', String(core), ...command] : command
}

/** A process that serves the commands of rpc.mjs. */
export class Child {
  #process
  #pending = new Map()
  #lastId = 0
  #stderr = ''
  #gone = null

  /** @param file relative to this folder */
  constructor(name, file, core, { nodeArgs = [], runtime = process.execPath } = {}) {
    this.name = name
    const path = fileURLToPath(new URL(file, import.meta.url))
    const command = onCore(core, [runtime, ...nodeArgs, path])
    this.#process = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...process.env,
        NODE_ENV: 'production',
        // A dependency may install native helpers for one contestant only.
        WS_NO_BUFFER_UTIL: '1',
        WS_NO_UTF_8_VALIDATE: '1',
      },
    })
    children.add(this)
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000)
    })
    this.#process.on('message', ({ id, result, error }) => {
      const pending = this.#pending.get(id)
      if (!pending) return
      this.#pending.delete(id)
      clearTimeout(pending.timer)
      if (error === undefined) pending.resolve(result)
      else pending.reject(new Error(error))
    })
    this.#process.on('error', (error) => this.#leave(error))
    this.#process.on('close', (code, signal) =>
      this.#leave(new Error(`${name} ended (${signal ?? code}) ${this.#stderr.trim()}`)),
    )
  }

  #leave(error) {
    this.#gone = error
    children.delete(this)
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(error)
    }
    this.#pending.clear()
  }

  call(command, args, timeout = 120_000) {
    if (this.#gone) return Promise.reject(this.#gone)
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(new Error(`${this.name}: no answer to "${command}" within ${timeout} ms`))
      }, timeout)
      this.#pending.set(id, { resolve, reject, timer })
      this.#process.send({ id, command, args }, (error) => {
        if (error) this.#leave(error)
      })
    })
  }

  /** taskset replaces itself with the process that it starts. */
  get pid() {
    return this.#process.pid
  }

  stop() {
    return ended(this.#process)
  }
}

export function startClient() {
  return new Child('client', './client.mjs', 1)
}

/** Rejects when the contestant cannot start; its process has ended then. */
export async function startServer(name, behaviour, nodeArgs = []) {
  const runtime = runtimeOf(contestants[name].runtime)
  const child = new Child(name, './server.mjs', 0, { nodeArgs, runtime })
  try {
    const { port } = await child.call('start', { name, behaviour }, 20_000)
    child.port = port
    return child
  } catch (error) {
    await child.stop()
    throw error
  }
}

/** Runs main with a deadline. No child outlives it, whether it fails or not. */
export async function guarded(main, maxSeconds) {
  const stopAll = () => Promise.all([...children].map((child) => child.stop()))
  const giveUp = async (reason) => {
    console.error(reason)
    await stopAll()
    process.exit(1)
  }
  const deadline = setTimeout(() => giveUp(`gave up after ${maxSeconds} s`), maxSeconds * 1000)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => giveUp(`stopped by ${signal}`))
  }
  try {
    await main()
  } catch (error) {
    console.error(error)
    process.exitCode = 1
  } finally {
    clearTimeout(deadline)
    await stopAll()
  }
}
