import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { pipeline } from 'node:stream'
import { Tunnel } from './tunnel.ts'

/** Headers of HTTP/1 only. */
const ONE_HOP = new Set(['connection', 'keep-alive', 'upgrade', 'host', 'transfer-encoding'])

/**
 * Makes an HTTP/1.1 server in front of an HTTP/2 server. It forwards every upgrade as an extended
 * CONNECT, every request over HTTP/2, and each client connection on its own session. So tests that
 * are written for HTTP/1.1 test HTTP/2.
 */
export function front(port: number): Server {
  const sessions = new WeakMap<object, ClientHttp2Session>()
  const sessionFor = (req: IncomingMessage): ClientHttp2Session => {
    const { socket } = req
    let session = sessions.get(socket)
    if (!session) {
      session = http2.connect(`http://127.0.0.1:${port}`)
      session.on('error', () => {})
      sessions.set(socket, session)
      socket.once('close', () => (session as ClientHttp2Session).close())
    }
    return session
  }
  const server = createServer((req, res) => void forward(sessionFor(req), req, res))
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => {})
    const session = sessionFor(req)
    const start = (): void => {
      const tunnel = new Tunnel(session)
      tunnel.on('error', () => {})
      tunnel.write(headOf(req))
      if (head.length > 0) socket.unshift(head)
      pipeline(socket, tunnel, socket, () => socket.destroy())
    }
    if (session.remoteSettings.enableConnectProtocol) start()
    else session.once('remoteSettings', start)
  })
  return server
}

function headOf({ method, url, rawHeaders }: IncomingMessage): Buffer {
  let text = `${method} ${url} HTTP/1.1\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2)
    text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`
  return Buffer.from(`${text}\r\n`, 'latin1')
}

async function forward(
  session: ClientHttp2Session,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const headers = Object.fromEntries(
    Object.entries(req.headers).filter(([name]) => !ONE_HOP.has(name)),
  )
  const stream = session.request({
    ':method': req.method,
    ':path': req.url,
    ':authority': req.headers.host,
    ...headers,
  })
  stream.on('error', () => res.destroy())
  stream.on('response', (answer: IncomingHttpHeaders) => {
    for (const [name, value] of Object.entries(answer)) {
      if (!name.startsWith(':') && value !== undefined) res.setHeader(name, value)
    }
    res.writeHead(Number(answer[':status']))
    stream.pipe(res)
  })
  req.pipe(stream)
}
