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
import { eventually, openSocket, PATIENCE, type Site, serve } from './server.ts'

export const KIB = 1024
export const MIB = 1024 * 1024

/** A site that hands its connections to the test. */
export interface LimitSite extends Site {
  /** Returns the count of a drop, 0 when it is absent. */
  drops(name: string): number
  /** Opens a connection with ws's client, and returns both ends. */
  socket(path?: string): Promise<{ socket: TestSocket; connection: Connection }>
  /** Does the same with a client that sends only the bytes of the test. */
  raw(path?: string): Promise<{ client: RawClient; connection: Connection }>
}

/** Options of routes by path; other paths have the options of the plugin. */
export type Routes = Record<string, AcceptOptions>

/** Serves a site that accepts every upgrade. */
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

/** Lets time pass, in which something must not happen. */
export const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Resolves once a condition holds, with the elapsed milliseconds. Rejects after a minute. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<number> {
  const began = performance.now()
  await eventually(condition, what)
  return performance.now() - began
}

/** Settles as a promise does, or rejects after a minute. */
export async function settles<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not settle`)), PATIENCE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Sends to a client that does not read, until the kernel takes no more bytes and about 128 KiB
 * wait, or `least` bytes.
 */
export async function stuff(connection: Connection, least = 128 * KIB): Promise<void> {
  const chunk = Buffer.alloc(64 * KIB)
  let looks = 0
  let before = -1
  // Counts looks instead of time, because a process that is not scheduled sees no change.
  while (looks < 100) {
    for (let i = 0; i < 1_000 && connection.bufferedAmount < least; i++) connection.send(chunk)
    await pass(2)
    looks = connection.bufferedAmount === before ? looks + 1 : 0
    before = connection.bufferedAmount
  }
}

/** Sends one message after which exactly this many bytes wait: at least 64 KiB more than now. */
export function topUp(connection: Connection, bytes: number): void {
  connection.send(Buffer.alloc(bytes - connection.bufferedAmount - 10))
  if (connection.bufferedAmount !== bytes) {
    throw new Error(`${connection.bufferedAmount} wait and not ${bytes}`)
  }
}

/** Makes ws's client read about this many bytes every 100 ms. Returns a function that ends it. */
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

/** Tracks the live timers that files of lib/ make from now on, unref'ed ones too. */
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

  /** Returns the number of live timers of a file, such as 'hub/heartbeat'. */
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

/** Blocks the event loop of this thread, without load on the processor. */
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
let stall = 0
let looked = performance.now()
setInterval(() => {
  const now = performance.now()
  stall = Math.max(stall, now - looked - 10)
  looked = now
}, 10)
for (let i = 0; i < workerData.count; i++) {
  const socket = new WebSocket(workerData.address, { autoPong: workerData.delay === 0 })
  sockets.push(socket)
  socket.on('open', () => {
    if (++open < workerData.count) return
    stall = 0
    parentPort.postMessage('open')
  })
  socket.on('ping', (data) => {
    pings++
    if (workerData.delay > 0) setTimeout(() => socket.pong(data), workerData.delay)
  })
  socket.on('error', () => {})
  socket.on('close', (code) => closed.push(code))
}
parentPort.on('message', (question) => {
  if (question === 'report') parentPort.postMessage({ pings, closed, stall })
  else for (const socket of sockets) socket.terminate()
})
`

/** Healthy clients on a separate thread, which answer while the main thread is blocked. */
export class ClientThread {
  readonly #worker: Worker

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  /** @param delay milliseconds before a pong */
  static async open(port: number, count: number, delay = 0): Promise<ClientThread> {
    const worker = new Worker(CLIENTS, {
      eval: true,
      execArgv: [],
      workerData: { address: `ws://127.0.0.1:${port}/`, count, delay },
    })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return new ClientThread(worker)
  }

  /** @returns what the clients saw; `stall` is the longest that their thread did not run, in milliseconds */
  report(): Promise<{ pings: number; closed: number[]; stall: number }> {
    return new Promise((resolve) => {
      this.#worker.once('message', resolve)
      this.#worker.postMessage('report')
    })
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
