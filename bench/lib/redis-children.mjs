import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { children, onCore } from './children.mjs'
import { ended } from './ended.mjs'

/** A Node process that serves the commands of rpc.mjs. */
export class RpcChild {
  #process
  #pending = new Map()
  #lastId = 0
  #stderr = ''
  #gone = null

  constructor(name, file, core, nodeArgs = []) {
    this.name = name
    const path = fileURLToPath(new URL(file, import.meta.url))
    const [program, ...args] = onCore(core, [process.execPath, ...nodeArgs, path])
    this.#process = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...process.env,
        NODE_ENV: 'production',
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

  get pid() {
    return this.#process.pid
  }

  call(command, args, timeout = 60_000) {
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

  stop() {
    return ended(this.#process)
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
}
