import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import koaWs, { type Hub, type KoaWsOptions } from '../../lib/index.ts'
import { RejectedError, TestSocket } from '../../lib/testing/index.ts'
import { closeRawClients } from './raw.ts'

const servers = new Set<Server>()
const hubs = new Set<Hub>()
const sockets = new Set<TestSocket>()

/** An app on a listening server, as the tests of a flow use it. */
export interface Site {
  app: Koa
  hub: Hub
  server: Server
  port: number
  errors: { error: Error & Record<string, unknown>; where: unknown }[]
}

/** The options of an app that tests set. */
export interface AppOptions {
  proxy?: boolean
  keys?: string[]
  asyncLocalStorage?: boolean
}

/** Makes a hub that is closed after the test. It has no heartbeat unless the test asks for one. */
export function makeHub(options?: KoaWsOptions): Hub {
  const hub = koaWs({ heartbeat: false, ...options })
  hubs.add(hub)
  return hub
}

/** Makes an app that keeps its errors instead of printing them. */
export function makeApp(options?: AppOptions): { app: Koa; errors: Site['errors'] } {
  const app = new Koa<Koa.DefaultState, Koa.DefaultContext>(options)
  const errors: Site['errors'] = []
  app.on('error', (error, where) => errors.push({ error, where }))
  return { app, errors }
}

/** Listens on a free port of this machine. */
export async function listen(server: Server, host = '127.0.0.1'): Promise<number> {
  servers.add(server)
  server.listen(0, host)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** The server that `serve` listens with. */
interface Listening {
  create(app: Koa): Server
  /** The HTTP status of an accept. */
  acceptStatus: number
  /** Whether the hub has to be attached before the first upgrade. */
  attach: boolean
  listen(server: Server): Promise<number>
}

let listening: Listening = {
  create: (app) => createServer(app.callback()),
  acceptStatus: 101,
  attach: false,
  listen,
}

/** Makes `serve` listen with another server than HTTP/1.1, for a whole run. */
export function listenWith(other: Listening): void {
  listening = other
}

/** Returns the status that an accept has for the application. */
export function acceptStatus(): number {
  return listening.acceptStatus
}

/** Serves an app with the plugin, and with middleware that the test adds after it. */
export async function serve(
  build: (app: Koa, hub: Hub) => void,
  options?: KoaWsOptions & { before?: (app: Koa) => void; koa?: AppOptions; attach?: boolean },
): Promise<Site> {
  const { before, koa, attach = false, ...hubOptions } = options ?? {}
  const { app, errors } = makeApp(koa)
  const hub = makeHub(hubOptions)
  before?.(app)
  app.use(hub)
  build(app, hub)
  const server = listening.create(app)
  if (attach || listening.attach) hub.attach(server)
  const port = await listening.listen(server)
  return { app, hub, server, port, errors }
}

/** Opens a WebSocket with ws's client; rejects with the HTTP answer. */
export function openSocket(
  url: number | string,
  path = '/',
  {
    protocols = [],
    ...options
  }: { protocols?: string[]; headers?: Record<string, string>; [key: string]: unknown } = {},
): Promise<TestSocket> {
  const address = typeof url === 'number' ? `ws://127.0.0.1:${url}${path}` : url
  return new Promise((resolve, reject) => {
    const socket = new TestSocket(address, protocols, options)
    sockets.add(socket)
    socket.once('open', () => resolve(socket))
    socket.once('error', reject)
    socket.once('unexpected-response', async (_req, res) => {
      const chunks: Buffer[] = []
      for await (const chunk of res) chunks.push(chunk as Buffer)
      const body = Buffer.concat(chunks).toString()
      reject(
        new RejectedError(path, { status: res.statusCode as number, headers: res.headers, body }),
      )
    })
  })
}

/** Returns the HTTP answer of a WebSocket that must be rejected. */
export async function rejected(promise: Promise<unknown>): Promise<RejectedError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof RejectedError) return error
    throw error
  }
  throw new Error('it was accepted')
}

/** Returns a promise with its resolve function. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Lets the event loop turn once. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Milliseconds that a test waits for an event, which may take long on a busy machine. */
export const PATIENCE = 60_000

/** Resolves once a condition holds. Rejects after a minute. */
export async function eventually(condition: () => boolean, what = 'the condition'): Promise<void> {
  const deadline = Date.now() + PATIENCE
  for (let looks = 0; !condition(); looks++) {
    if (Date.now() > deadline) throw new Error(`${what} did not come about`)
    await nextLook(looks)
  }
}

/** Waits until expectations hold; after a minute they throw. */
export async function soon(expectations: () => void): Promise<void> {
  const deadline = Date.now() + PATIENCE
  for (let looks = 0; ; looks++) {
    try {
      expectations()
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
    await nextLook(looks)
  }
}

/**
 * Looks in each turn of the event loop at first, then less often, to leave the processor to the
 * awaited work.
 */
function nextLook(looks: number): Promise<void> {
  return looks < 100 ? turn() : new Promise((resolve) => setTimeout(resolve, 2))
}

/** Closes everything that the tests of a file have opened; call it in `afterEach`. */
export async function cleanUp(): Promise<void> {
  closeRawClients()
  for (const socket of sockets) socket.terminate()
  sockets.clear()
  for (const hub of hubs) await hub.close({ timeout: 200 })
  hubs.clear()
  for (const server of servers) {
    server.closeAllConnections?.()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  servers.clear()
}
