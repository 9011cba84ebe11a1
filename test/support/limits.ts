import { createHook } from 'node:async_hooks'
import { Worker } from 'node:worker_threads'
import type Koa from 'koa'
import {
  type AcceptOptions,
  accept,
  type Connection,
  type Handler,
  type KoaWsOptions,
} from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { handshake, type RawClient, rawClient } from './raw.ts'
import { eventually, openSocket, type Site, serve } from './server.ts'

export const KIB = 1024
export const MIB = 1024 * 1024

/** A site whose connections the test gets hold of. */
export interface LimitSite extends Site {
  /** The option's counter, 0 when there is none yet. */
  drops(name: string): number
  /** A connection with ws's client, and the server's end of it. */
  socket(path?: string): Promise<{ socket: TestSocket; connection: Connection }>
  /** The same with a client that does only what it is told. */
  raw(path?: string): Promise<{ client: RawClient; connection: Connection }>
}

/** Options of routes by path; any other path accepts with the plugin's. */
export type Routes = Record<string, AcceptOptions>

/** A site that accepts everything. */
export async function limitSite(
  options: KoaWsOptions = {},
  handler: Handler = () => {},
  routes: Routes = {},
): Promise<LimitSite> {
  const arrived: Connection[] = []
  const take: Handler = (connection, ctx) => {
    arrived.push(connection)
    return handler(connection, ctx)
  }
  const plain = accept(take)
  const others = new Map(
    Object.entries(routes).map(([path, route]) => [path, accept(take, route)] as const),
  )
  const site = await serve((app: Koa) => {
    app.use((ctx, next) => (others.get(ctx.path) ?? plain)(ctx as never, next))
  }, options)
  const next = async (count: number): Promise<Connection> => {
    await eventually(() => arrived.length > count, 'the connection')
    return arrived[count] as Connection
  }
  return {
    ...site,
    drops: (name) => site.hub.status().drops[name] ?? 0,
    async socket(path) {
      const count = arrived.length
      const socket = await openSocket(site.port, path)
      return { socket, connection: await next(count) }
    },
    async raw(path) {
      const count = arrived.length
      const client = await rawClient(site.port)
      client.write(handshake(path))
      await client.answer()
      return { client, connection: await next(count) }
    },
  }
}

/** Time passes: for what must not happen in it. */
export const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Like `eventually`, with a deadline of one's own, and without a busy loop. */
export async function within(
  ms: number,
  condition: () => boolean,
  what = 'the condition',
): Promise<number> {
  const began = performance.now()
  while (!condition()) {
    if (performance.now() - began > ms) throw new Error(`${what} did not come about in ${ms} ms`)
    await pass(5)
  }
  return performance.now() - began
}

/** A promise that must settle in time. */
export async function inTime<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not in ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Send to a client that does not read until the kernel takes nothing more; about 128 KiB wait then. */
export async function stuff(connection: Connection): Promise<void> {
  const chunk = Buffer.alloc(64 * KIB)
  let since = performance.now()
  let before = -1
  while (performance.now() - since < 250) {
    while (connection.bufferedAmount < 128 * KIB) connection.send(chunk)
    await pass(2)
    if (connection.bufferedAmount !== before) since = performance.now()
    before = connection.bufferedAmount
  }
}

/** Send one message after which exactly so many bytes wait: at least 64 KiB more than now. */
export function topUp(connection: Connection, bytes: number): void {
  connection.send(Buffer.alloc(bytes - connection.bufferedAmount - 10))
  if (connection.bufferedAmount !== bytes) {
    throw new Error(`${connection.bufferedAmount} wait and not ${bytes}`)
  }
}

/** Have ws's client read about so many bytes each 100 ms; returns how to end that. */
export function throttle(socket: TestSocket, bytes: number): () => void {
  const tcp = (socket as unknown as { _socket: NodeJS.ReadableStream })._socket
  let left = 0
  const took = (chunk: Buffer): void => {
    left -= chunk.length
    if (left <= 0) socket.pause()
  }
  tcp.on('data', took)
  socket.pause()
  const timer = setInterval(() => {
    left = bytes
    socket.resume()
  }, 100)
  return () => {
    clearInterval(timer)
    tcp.off('data', took)
    socket.resume()
  }
}

const LIB = new URL('../../lib/', import.meta.url).pathname

/** The live timers that files of lib/ have made since; unref'ed ones too. */
export class LibTimers {
  readonly #live = new Map<number, { stack: string; repeats: boolean }>()
  readonly #hook = createHook({
    init: (id, type, _trigger, resource) => {
      if (type !== 'Timeout') return
      const stack = new Error().stack ?? ''
      if (!stack.includes(LIB)) return
      const repeats = (resource as { _repeat?: number | null })._repeat != null
      this.#live.set(id, { stack, repeats })
    },
    destroy: (id) => void this.#live.delete(id),
  }).enable()

  /** How many there are that this file has made: 'hub/heartbeat'. */
  of(file: string, repeats?: boolean): number {
    return [...this.#live.values()].filter(
      (one) =>
        one.stack.includes(`${LIB}${file}.ts`) &&
        (repeats === undefined || one.repeats === repeats),
    ).length
  }

  stop(): void {
    this.#hook.disable()
  }
}

/** Block the event loop of this thread, without work for the processor. */
export function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

const CLIENTS = `
const { parentPort, workerData } = require('node:worker_threads')
const { WebSocket } = require('ws')
let open = 0
let pings = 0
const closed = []
const sockets = []
for (let i = 0; i < workerData.count; i++) {
  const socket = new WebSocket(workerData.address, { autoPong: workerData.delay === 0 })
  sockets.push(socket)
  socket.on('open', () => ++open === workerData.count && parentPort.postMessage('open'))
  socket.on('ping', (data) => {
    pings++
    if (workerData.delay > 0) setTimeout(() => socket.pong(data), workerData.delay)
  })
  socket.on('error', () => {})
  socket.on('close', (code) => closed.push(code))
}
parentPort.on('message', (question) => {
  if (question === 'report') parentPort.postMessage({ pings, closed })
  else for (const socket of sockets) socket.terminate()
})
`

/** Healthy clients on a thread of their own, which answer while this one is blocked. */
export class ClientThread {
  readonly #worker: Worker

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  /** @param delay how long a pong takes, in milliseconds */
  static async open(port: number, count: number, delay = 0): Promise<ClientThread> {
    const worker = new Worker(CLIENTS, {
      eval: true,
      execArgv: [],
      workerData: { address: `ws://127.0.0.1:${port}/`, count, delay },
    })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return new ClientThread(worker)
  }

  report(): Promise<{ pings: number; closed: number[] }> {
    return new Promise((resolve) => {
      this.#worker.once('message', resolve)
      this.#worker.postMessage('report')
    })
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
