// Validates a handshake over HTTP/2.

import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { bad, countHeader, HOST, otherVersion, type Refusal } from '../handshake.ts'

/** Returns the `:protocol` of an extended CONNECT; undefined for a plain CONNECT. */
export function protocolOf({ headers }: IncomingMessage): string | undefined {
  return headers[':protocol'] as string | undefined
}

/**
 * Returns the problem with a handshake over HTTP/2, or null (RFC 8441, section 5; RFC 9113, section
 * 8.3.1). nghttp2 rejects some of these earlier, but this check does not rely on it.
 */
export function checkConnect(req: IncomingMessage): Refusal | null {
  const { headers } = req
  const scheme = headers[':scheme']
  if (scheme !== 'https' && scheme !== 'http') {
    return bad(400, 'The :scheme of a WebSocket handshake is "https" or "http".')
  }
  const path = headers[':path']
  if (typeof path !== 'string' || path[0] !== '/' || path[1] === '/') {
    return bad(400, 'The :path of a WebSocket handshake begins with one slash.')
  }
  const authority = headers[':authority']
  if (typeof authority !== 'string' || !HOST.test(authority)) {
    return bad(400, 'The :authority of a WebSocket handshake is a host, and perhaps a port.')
  }
  const { host } = headers
  const contradicts = host !== undefined && host.toLowerCase() !== authority.toLowerCase()
  if (contradicts || countHeader(req, 'host') > 1) {
    return bad(400, 'Host contradicts :authority.')
  }
  // Even a length of 0 is refused: nghttp2 would compare it with the data on the stream.
  if (headers['content-length'] !== undefined) {
    return bad(400, 'A WebSocket handshake has no Content-Length.')
  }
  if ((req as unknown as Partial<Http2ServerRequest>).stream?.endAfterHeaders) {
    return bad(400, 'A WebSocket handshake must leave its stream open.')
  }
  return headers['sec-websocket-version'] === '13' ? null : otherVersion(400)
}
