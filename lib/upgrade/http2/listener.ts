import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type {
  Http2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  ServerHttp2Stream,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { countTaken } from '../../connection/http2-transport.ts'
import { debugUpgrade, loggablePath } from '../../debug.ts'
import { guardSocket } from '../socket-guard.ts'
import { repairSocket } from './compatibility.ts'
import { protocolOf } from './handshake.ts'
import { Sessions } from './sessions.ts'

/** Who decides about a handshake that came over HTTP/2. */
export interface ConnectHost {
  /** Whether a plugin wants it; null: its filter failed. */
  wants(req: IncomingMessage): boolean | null
  take(req: IncomingMessage, stream: Duplex, res: ServerResponse, ours: true | null): void
}

/** A server that speaks HTTP/2, or null. */
export function asHttp2(server: unknown): Http2Server | null {
  const { updateSettings } = server as Partial<Http2Server>
  return typeof updateSettings === 'function' ? (server as Http2Server) : null
}

/**
 * The one `connect` listener of an HTTP/2 server. With it Node hands over every CONNECT, so what
 * Node does without it is done here to all that is no WebSocket and that nobody else listens for.
 */
export class ConnectListener {
  readonly sessions: Sessions
  readonly #server: Http2Server
  readonly #host: ConnectHost
  readonly #onConnect = (req: IncomingMessage | Http2ServerRequest, second: unknown): void => {
    if (isHttp2(req)) this.#connectStream(req, second as Http2ServerResponse)
    else if (!this.#hasNeighbours) (second as Duplex).destroy()
  }

  constructor(server: Http2Server, host: ConnectHost) {
    this.#server = server
    this.#host = host
    this.sessions = new Sessions(server)
    server.on('connect', this.#onConnect)
  }

  stop(): void {
    this.#server.off('connect', this.#onConnect)
    this.sessions.forget(this.#server.listenerCount('connect') > 0)
  }

  #connectStream(req: Http2ServerRequest, res: Http2ServerResponse): void {
    const { stream } = req
    const request = req as unknown as IncomingMessage
    const protocol = protocolOf(request)
    const verdict = protocol === 'websocket' && this.#asGet(request)
    if (verdict === false) {
      if (!this.#hasNeighbours) refuse(res, protocol)
      return
    }
    guardSocket(stream)
    const take = (): void => {
      request.method = 'GET'
      const response = res as unknown as ServerResponse
      ownStream(req)
      countTaken(stream)
      repairSocket(request, response, stream)
      this.#host.take(request, stream, response, verdict)
    }
    if (!this.#hasNeighbours) {
      take()
      return
    }
    // Let every other listener have its say first.
    process.nextTick(() => {
      if (!stream.headersSent && !stream.closed && !stream.destroyed) take()
      else debugUpgrade('%s: another connect listener answered it first', loggablePath(req.url))
    })
  }

  /** Whether it is ours, asked as the GET that it is for the application. */
  #asGet(request: IncomingMessage): boolean | null {
    request.method = 'GET'
    const verdict = this.#host.wants(request)
    request.method = 'CONNECT' // other listeners look at it too
    return verdict
  }

  get #hasNeighbours(): boolean {
    return (this.#server as unknown as Server).listenerCount('connect') > 1
  }
}

/** What comes on the stream is no body: whoever reads the request, or pauses it, must not touch that. */
function ownStream(req: Http2ServerRequest): void {
  req.push(null)
  req.removeAllListeners('pause') // Node's own
  req.removeAllListeners('resume')
  req.stream.on('end', destroyIfReset)
}

/** After RST_STREAM with NO_ERROR Node waits for writes that nobody takes any more. */
function destroyIfReset(this: ServerHttp2Stream): void {
  if (this.closed) this.destroy()
}

function isHttp2(req: IncomingMessage | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor >= 2
}

/** RFC 9110, section 9.3.6; RFC 9220, section 3, for a protocol that is not known. */
function refuse(res: Http2ServerResponse, protocol: string | undefined): void {
  res.statusCode = protocol === undefined || protocol === 'websocket' ? 405 : 501
  res.end()
}
