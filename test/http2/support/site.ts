import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2, { type ClientHttp2Session, type Http2Server } from 'node:http2'
import type Koa from 'koa'
import type { Hub, KoaWsOptions } from '../../../lib/index.ts'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { selfSigned } from '../../support/certificate.ts'
import {
  type AppOptions,
  cleanUp,
  listen,
  makeApp,
  makeHub,
  openSocket,
  type Site,
} from '../../support/server.ts'
import { Tunnel } from './tunnel.ts'

/** The headers of an extended CONNECT. */
export const HANDSHAKE = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':path': '/',
  'sec-websocket-version': '13',
}

const sessions = new Set<ClientHttp2Session>()

/** The site of the tests over HTTP/2. */
export interface Http2Site extends Omit<Site, 'server'> {
  server: Http2Server
  secure: boolean
  /** The sessions of the server, in order. */
  seen: http2.ServerHttp2Session[]
}

/**
 * Serves an app with the plugin over TLS with HTTP/2 and HTTP/1.1, or with `plain` over HTTP/2
 * only.
 */
export async function serveHttp2(
  build: (app: Koa, hub: Hub) => void,
  options?: KoaWsOptions & {
    before?: (app: Koa) => void
    koa?: AppOptions
    attach?: boolean
    plain?: boolean
    server?: http2.SecureServerOptions
  },
): Promise<Http2Site> {
  const {
    before,
    koa,
    attach = true,
    plain = false,
    server: settings,
    ...hubOptions
  } = options ?? {}
  const { app, errors } = makeApp(koa)
  const hub = makeHub(hubOptions)
  before?.(app)
  app.use(hub)
  build(app, hub)
  const callback = app.callback() as never
  const server = plain
    ? http2.createServer(settings ?? {}, callback)
    : http2.createSecureServer({ ...identity(), allowHTTP1: true, ...settings }, callback)
  const seen: http2.ServerHttp2Session[] = []
  server.on('session', (session) => seen.push(session))
  if (attach) hub.attach(server)
  const port = await listen(server as never)
  return { app, hub, server: server as Http2Server, port, errors, seen, secure: !plain }
}

function identity(): { key: Buffer; cert: Buffer } {
  const { key, cert } = selfSigned()
  return { key: readFileSync(key), cert: readFileSync(cert) }
}

/** Opens a session, and waits for the settings of the server. */
export async function connectHttp2(
  { port, secure }: Pick<Http2Site, 'port' | 'secure'>,
  options: http2.SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = http2.connect(`${secure ? 'https' : 'http'}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    ...options,
  })
  session.on('error', () => {})
  sessions.add(session)
  await once(session, 'remoteSettings')
  return session
}

/** Opens a WebSocket over a session; rejects with the HTTP answer. */
export function openOver(
  session: ClientHttp2Session,
  path = '/',
  options: Parameters<typeof openSocket>[2] = {},
): Promise<TestSocket & { tunnel: Tunnel }> {
  const tunnel = new Tunnel(session)
  const { remotePort } = session.socket
  return openSocket(`ws://127.0.0.1:${remotePort}${path}`, path, {
    ...options,
    createConnection: () => tunnel,
  }).then((socket) => Object.assign(socket, { tunnel }))
}

/** Ends the sessions and servers of a test. Called in `afterEach`. */
export async function cleanUpHttp2(): Promise<void> {
  for (const session of sessions) session.destroy()
  sessions.clear()
  await cleanUp()
}
