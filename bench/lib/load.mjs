import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { children, onCore } from './children.mjs'
import { ended } from './ended.mjs'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'

const FOLDER = fileURLToPath(new URL('../.build/', import.meta.url))
const fileOf = (name) => fileURLToPath(new URL(`../load/${name}.c`, import.meta.url))

/**
 * Compiles a load client if it is missing or older than its source.
 *
 * @param attempts lists of options, tried in this order
 * @returns the list that works; undefined without compiling
 */
function compile(name, attempts) {
  if (process.platform !== 'linux') throw new Error('the load client needs Linux (epoll)')
  const source = fileOf(name)
  const program = `${FOLDER}${name}`
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return
  mkdirSync(FOLDER, { recursive: true })
  let why = ''
  for (const more of attempts) {
    const words = ['-O2', '-std=c11', source, '-o', `${program}.new`, ...more]
    const { error, status, stderr } = spawnSync('cc', words, { encoding: 'utf8' })
    if (error) throw new Error(`the load client needs a C compiler named cc: ${error.message}`)
    if (status === 0) {
      renameSync(`${program}.new`, program)
      return more
    }
    why = stderr
  }
  throw new Error(`the load client does not compile: ${why}`)
}

/** Compiles the client of HTTP/1.1. */
export function build() {
  const zlib = ['-DWITH_ZLIB', '-lz']
  const tls = ['-DWITH_TLS', '-lssl', '-lcrypto']
  const used = compile('load', [[...zlib, ...tls], zlib, tls, []])
  if (used === undefined) return
  if (!used.includes('-lz')) {
    console.log('no zlib headers (zlib1g-dev): compressed broadcasts are left out')
  }
  if (!used.includes('-lssl')) console.log('no headers of OpenSSL (libssl-dev): TLS is left out')
}

/** Compiles the client of HTTP/2. It needs libnghttp2-dev. */
export function buildHttp2() {
  compile('http2', [['-lnghttp2']])
}

export const hex = (text) => Buffer.from(text, 'latin1').toString('hex')

const line = (command, values) =>
  [command, ...Object.entries(values).map(([key, value]) => `${key}=${value}`)].join(' ')

/** A C program: it takes one command at a time and gives one answer each. */
class Program {
  #process
  #pending = null
  #output = ''
  #gone = null

  constructor(name, core) {
    const [file, ...args] = onCore(core, [FOLDER + name])
    this.#process = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    children.add(this)
    this.#process.stdin.on('error', () => {})
    this.#process.stdout.setEncoding('utf8').on('data', (text) => this.#onData(text))
    this.#process.on('error', (error) => this.#leave(error))
    this.#process.on('close', (code, signal) =>
      this.#leave(new Error(`the load client ended (${signal ?? code})`)),
    )
  }

  #onData(text) {
    this.#output += text
    const end = this.#output.indexOf('\n')
    if (end === -1) return
    const answer = JSON.parse(this.#output.slice(0, end))
    this.#output = this.#output.slice(end + 1)
    const pending = this.#pending
    this.#pending = null
    pending?.resolve(answer)
  }

  #leave(error) {
    this.#gone = error
    children.delete(this)
    this.#pending?.reject(error)
    this.#pending = null
  }

  command(name, values = {}) {
    if (this.#gone) return Promise.reject(this.#gone)
    if (this.#pending) return Promise.reject(new Error('one command at a time'))
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject }
      this.#process.stdin.write(`${line(name, values)}\n`)
    })
  }

  stop() {
    return ended(this.#process)
  }
}

/** The client of HTTP/2. */
export class Http2Load extends Program {
  constructor(core = 1) {
    super('http2', core)
  }
}

/** The client of HTTP/1.1. */
export class Load extends Program {
  constructor(core = 1) {
    super('load', core)
  }

  /** Rejects unless all of them open. */
  async open(
    group,
    { port, count, kind = 'ws', deflate = false, silent = false, tls = false, ...more },
  ) {
    const request = kind === 'socket.io' ? socketIoRequest(port) : wsRequest(port, deflate, tls)
    const answer = await this.command('open', {
      group,
      port,
      count,
      socketIo: Number(kind === 'socket.io'),
      deflate: Number(deflate),
      silent: Number(silent),
      tls: Number(tls),
      request: hex(request),
      expect: hex(deflate ? 'server_no_context_takeover' : ACCEPT),
      ...more,
    })
    if (answer.open !== count) {
      throw new Error(`${answer.open} of ${count} opened ${JSON.stringify(answer.reasons)}`)
    }
    return answer
  }
}

function wsRequest(port, deflate, tls) {
  const text = upgradeRequest(port, TOKENS.valid, false, tls).toString('latin1')
  return deflate
    ? text.replace(
        '\r\n\r\n',
        '\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n',
      )
    : text
}

function socketIoRequest(port) {
  return wsRequest(port, false, false).replace(
    'GET /room/lobby ',
    'GET /socket.io/?EIO=4&transport=websocket ',
  )
}
