import type Koa from 'koa'
import { accept, type Handler, type Messages, type ProtocolDefinition } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { openSocket, type Site, serve } from './server.ts'

/** A received message of koaws.v1. */
export interface Wire {
  type: string
  id?: number
  data?: unknown
  about?: string
  error?: { code: string; message: string; status: number; retryable: boolean; data?: unknown }
}

// biome-ignore lint/suspicious/noExplicitAny: any protocol, any state
type AnyMessages = Messages<any, any> | { types: ProtocolDefinition }

/** Serves every path of an app with `messages()`. */
export function serveMessages(
  handler: AnyMessages,
  options: Parameters<typeof accept>[1] & { hub?: never } = {},
  hubOptions: Parameters<typeof serve>[1] = {},
  build: (app: Koa) => void = () => {},
): Promise<Site> {
  return serve(
    (app) => {
      build(app)
      app.use(accept(handler as unknown as Handler, options))
    },
    { heartbeat: {}, ...hubOptions },
  )
}

/** Connects with koaws.v1, and reads the welcome. */
export async function talk(port: number, path = '/'): Promise<TestSocket> {
  const socket = await speak(port, path)
  const { type } = await hear(socket)
  if (type !== 'koaws:welcome') throw new Error(`${type} came in place of the welcome`)
  return socket
}

/** Connects with koaws.v1, and reads nothing. */
export function speak(port: number, path = '/'): Promise<TestSocket> {
  return openSocket(port, path, { protocols: ['koaws.v1'] })
}

/** Returns the next message. */
export async function hear(socket: TestSocket): Promise<Wire> {
  return (await socket.nextJson()) as Wire
}

let lastId = 0

/**
 * Sends a request, and returns the next message: its answer, if the server sends no other
 * message.
 */
export function ask(
  socket: TestSocket,
  type: string,
  data?: unknown,
  id = ++lastId,
): Promise<Wire> {
  socket.json({ type, id, data })
  return hear(socket)
}
