// The `connect` listener of a server that speaks HTTP/2.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type {
  Http2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  ServerHttp2Stream,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { debugUpgrade, loggablePath } from '../debug.ts'
import { fieldsOf } from '../fields.ts'
import { http2 } from '../upgrade/http2/carrier.ts'
import { repairSocket } from '../upgrade/http2/compatibility.ts'
import { protocolOf } from '../upgrade/http2/handshake.ts'
import { countTaken } from '../upgrade/http2/transport.ts'
import { guardSocket } from '../upgrade/socket-guard.ts'
import { Upgrade } from '../upgrade/upgrade.ts'
import type { ServerPlugins } from './plugins.ts'
import { Sessions } from './sessions.ts'
import { Admission } from './turn-admission.ts'

function isHttp2Server(server: unknown): server is Http2Server {
  return typeof fieldsOf(server)['updateSettings'] === 'function'
}

/** Returns a server if it speaks HTTP/2, otherwise null. */
export function asHttp2(server: unknown): Http2Server | null {
  return isHttp2Server(server) ? server : null
}

/**
 * The one `connect` listener of an HTTP/2 server. A listener makes Node pass on every CONNECT. So
 * it also answers each CONNECT that is not a WebSocket handshake and has no other listener, as Node
 * would.
 */
export class ConnectListener {
  readonly sessions: Sessions
  readonly #server: Http2Server
  readonly #plugins: ServerPlugins
  readonly #admission = new Admission()
  readonly #onConnect = (req: IncomingMessage | Http2ServerRequest, second: unknown): void => {
    if (isHttp2(req)) this.#connectStream(req, second as Http2ServerResponse)
    else if (!this.#hasNeighbours) (second as Duplex).destroy()
  }

  constructor(server: Http2Server, plugins: ServerPlugins) {
    this.#server = server
    this.#plugins = plugins
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
      if (stream.headersSent || stream.closed || stream.destroyed) return
      request.method = 'GET'
      const response = res as unknown as ServerResponse
      ownStream(req)
      countTaken(stream)
      repairSocket(request, response, stream)
      this.#take(request, stream, response, verdict)
    }
    const { session = stream } = stream
    if (!this.#hasNeighbours) {
      this.#admission.enter(session, take)
      return
    }
    // Let the other listeners answer first.
    process.nextTick(() => {
      if (!stream.headersSent && !stream.closed && !stream.destroyed)
        this.#admission.enter(session, take)
      else debugUpgrade('%s: another connect listener answered it first', loggablePath(req.url))
    })
  }

  #take(req: IncomingMessage, stream: Duplex, res: ServerResponse, ours: true | null): void {
    const plugins = this.#plugins
    if (ours === null) {
      plugins.refuseUnfiltered(http2, req, stream)
      return
    }
    const upgrade = plugins.open({
      carrier: http2,
      req,
      socket: stream,
      head: NO_HEAD,
      res,
      takenOver: false,
      claimed: null,
      passOn: null,
    })
    if (upgrade instanceof Upgrade) this.#server.emit('request', req, res)
    else plugins.refuse(http2, stream, upgrade)
  }

  /** Returns whether a plugin accepts the request, presented as a GET. */
  #asGet(request: IncomingMessage): boolean | null {
    request.method = 'GET'
    const verdict = this.#plugins.isOurs(request)
    request.method = 'CONNECT' // other listeners read the method too
    return verdict
  }

  get #hasNeighbours(): boolean {
    return (this.#server as unknown as Server).listenerCount('connect') > 1
  }
}

const NO_HEAD = Buffer.alloc(0)

/**
 * Detaches the request from its stream. The data on the stream are WebSocket frames: middleware
 * that reads or pauses the request must not touch them.
 */
function ownStream(req: Http2ServerRequest): void {
  req.push(null)
  req.removeAllListeners('pause') // Node's own listeners
  req.removeAllListeners('resume')
  req.stream.on('end', destroyIfReset)
}

/** Destroys a reset stream: after NO_ERROR, Node waits for writes that cannot complete. */
function destroyIfReset(this: ServerHttp2Stream): void {
  if (this.closed) this.destroy()
}

function isHttp2(req: IncomingMessage | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor >= 2
}

/** Refuses a CONNECT: 405 (RFC 9110, section 9.3.6), or 501 (RFC 9220, section 3). */
function refuse(res: Http2ServerResponse, protocol: string | undefined): void {
  res.statusCode = protocol === undefined || protocol === 'websocket' ? 405 : 501
  res.end()
}
