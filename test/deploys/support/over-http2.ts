import { createServer, type Server } from 'node:http'
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { accept, type Connection, type Hub } from '../../../lib/index.ts'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { openOver } from '../../http2/support/site.ts'
import { listen, makeApp, makeHub, openSocket } from '../../support/server.ts'

/** The HTTP version of one hop. */
export type Version = '1.1' | '2.0'

/** The first message of a connection. */
export interface Greeting {
  ip: string
  url: string
  /** The version between proxy and backend. */
  version: string
  /** The version between client and proxy, as the proxy reports it. */
  client: string
}

/** An app behind a proxy. */
export interface Backend {
  readonly hub: Hub
  readonly port: number
  /** The connections by request path. */
  readonly connections: Map<string, Connection>
  /** The close codes by request path. */
  readonly ended: Map<string, number>
  /** The headers of the last handshake, with their pseudo-headers. */
  headers: Record<string, unknown>
  /** The number of 503 answers to readiness checks. */
  unready: number
}

const PAGE = '<!doctype html><title>behind a proxy</title><link rel="icon" href="data:,">'

/** Starts an app that greets and echoes, over HTTP/1.1 or HTTP/2 without TLS. */
export async function startBackend(version: Version): Promise<Backend> {
  const { app } = makeApp({ proxy: true })
  const hub = makeHub()
  app.use(hub)
  app.use((ctx, next) => {
    if (ctx.path === '/private') ctx.throw(401, 'Log in first')
    if (ctx.path === '/page') ctx.body = PAGE
    else if (ctx.path !== '/ready') return next()
    else if (hub.status().ready) ctx.status = 200
    else {
      ctx.status = 503
      backend.unready++
    }
    return undefined
  })
  app.use((ctx, next) => {
    backend.headers = { ...ctx.headers }
    ctx.cookies.set('seen', 'yes')
    return next()
  })
  app.use(
    accept((connection, ctx) => {
      const { ip, protocol, host, path } = ctx
      backend.connections.set(path, connection)
      connection.on('close', (code) => backend.ended.set(path, code))
      const url = `${protocol}://${host}${ctx.url}`
      const client = ctx.get('x-client-version').replace('HTTP/', '')
      const greeting: Greeting = { ip, url, version: ctx.req.httpVersion, client }
      connection.send(JSON.stringify(greeting))
      connection.on('message', (data, binary) => connection.send(data as Buffer, { binary }))
    }),
  )
  const callback = app.callback()
  const server: unknown =
    version === '2.0' ? http2.createServer(callback as never) : createServer(callback)
  hub.attach(server as Server)
  const backend: Backend = {
    hub,
    port: await listen(server as Server),
    connections: new Map(),
    ended: new Map(),
    headers: {},
    unready: 0,
  }
  return backend
}

/** Opens WebSockets over TLS through a port. */
export type Open = (
  path: string,
  options?: { protocols?: string[]; headers?: Record<string, string>; handshakeTimeout?: number },
) => Promise<TestSocket>

/** Returns an opener over HTTP/1.1. */
export function openerHttp1(port: number): Open {
  return (path, options) =>
    openSocket(`wss://127.0.0.1:${port}${path}`, path, { rejectUnauthorized: false, ...options })
}

/** Returns an opener over HTTP/2, with one session for all sockets. */
export function openerHttp2(session: ClientHttp2Session, port: number): Open {
  const { socket, encrypted } = session
  session.setLocalWindowSize(16 * 1024 * 1024) // similar to browsers
  const request = (...args: Parameters<ClientHttp2Session['request']>): ClientHttp2Stream => {
    const stream = session.request(...args)
    // HAProxy forwards this header from an HTTP/1.1 backend; over HTTP/2 it has no meaning.
    stream.on('response', (headers) => Reflect.deleteProperty(headers, 'sec-websocket-accept'))
    return stream
  }
  const through = { socket, encrypted, request } as ClientHttp2Session
  return (path, options) =>
    openOver(through, path, {
      ...options,
      headers: { host: `127.0.0.1:${port}`, ...options?.headers },
    })
}
