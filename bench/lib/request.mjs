import { createHash } from 'node:crypto'
import { forge, sign } from './token.mjs'

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const claims = { sub: 'user-42', role: 'member', exp: Math.floor(Date.now() / 1000) + 86_400 }

export const TOKENS = { valid: sign(claims), invalid: forge(claims) }
export const ACCEPT = createHash('sha1')
  .update(KEY + GUID)
  .digest('base64')

const BROWSER = [
  'Pragma: no-cache',
  'Cache-Control: no-cache',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.8',
  'Cookie: session=eyJpZCI6IjQyIiwiaWF0IjoxNzAwMDAwMDAwfQ; session.sig=Qm9ndXNTaWduYXR1cmVGb3JBQmVuY2g; theme=dark; lang=en',
  'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
]

export function upgradeRequest(port, token, browser = false, secure = false) {
  return Buffer.from(
    [
      'GET /room/lobby HTTP/1.1',
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Origin: ${secure ? 'https' : 'http'}://127.0.0.1:${port}`,
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
      `Authorization: Bearer ${token}`,
      ...(browser ? BROWSER : []),
      '\r\n',
    ].join('\r\n'),
    'latin1',
  )
}

/** A GET that asks for a WebSocket, without a token. */
export function plainRequest(port, path, subprotocol) {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
    ...(subprotocol ? [`Sec-WebSocket-Protocol: ${subprotocol}`] : []),
    '\r\n',
  ].join('\r\n')
}

/** The same handshake as {@link upgradeRequest} over HTTP/2 (RFC 8441), as pairs of names and values. */
export function connectHeaders(port, token, browser = false, secure = false) {
  const scheme = secure ? 'https' : 'http'
  return [
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    [':scheme', scheme],
    [':authority', `127.0.0.1:${port}`],
    [':path', '/room/lobby'],
    ['origin', `${scheme}://127.0.0.1:${port}`],
    ['sec-websocket-version', '13'],
    ['authorization', `Bearer ${token}`],
    ...(browser ? BROWSER : []).map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)]
    }),
  ]
}
