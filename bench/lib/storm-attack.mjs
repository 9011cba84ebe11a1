/** The clients of a storm: `node storm-attack.mjs <kind> <port>`, until its parent ends it. */
import { connect } from 'node:net'

const [kind, port] = process.argv.slice(2)
const MASK = Buffer.from([1, 2, 3, 4])

function textFrame(text) {
  const payload = Buffer.from(text)
  const head = Buffer.alloc(8)
  head[0] = 0x81
  head[1] = 0x80 | 126
  head.writeUInt16BE(payload.length, 2)
  MASK.copy(head, 4)
  for (let i = 0; i < payload.length; i++) payload[i] ^= MASK[i & 3]
  return Buffer.concat([head, payload])
}

const pad = (text, size, more) => text.replace('@', more.repeat(size).slice(0, size))

/** About 54 KB and 5,500 names. */
function object() {
  const data = {}
  for (let i = 0; i < 5_500; i++) data[`k${i}`] = i % 10
  return textFrame(JSON.stringify({ type: 'move', data }).slice(0, 65_535))
}

function auth() {
  return textFrame(pad('{"type":"koaws:auth","id":7,"data":{"token":"@"}}', 60_000, 'a'))
}

/** Sends one frame repeatedly, as fast as the server takes it, and reconnects when it is closed. */
function flood(path, bytes) {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.on('close', () => setTimeout(flood, 50, path, bytes))
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Protocol: koaws.v1\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  )
  socket.once('data', () => {
    socket.resume()
    const send = () => {
      while (!socket.destroyed && socket.write(bytes));
    }
    socket.on('drain', send)
    send()
  })
}

const h2frame = (type, flags, stream, payload) => {
  const bytes = Buffer.alloc(9 + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  payload.copy(bytes, 9)
  return bytes
}

/** Opens 10,000 extended CONNECTs in one write (RFC 8441), again every two seconds on a new session. */
function streams() {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1'))
  socket.write(h2frame(4, 0, 0, Buffer.alloc(0)))
  const literal = (name, value) =>
    Buffer.concat([
      Buffer.from([0x40, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ])
  const fields = [
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    [':scheme', 'http'],
    [':path', '/echo'],
    [':authority', 'localhost'],
    ['sec-websocket-version', '13'],
  ]
  const first = Buffer.concat(fields.map(([name, value]) => literal(name, value)))
  const known = Buffer.from(fields.map((_, i) => 0x80 | (61 + fields.length - i)))
  socket.once('data', () => {
    socket.resume()
    const frames = []
    for (let i = 0; i < 10_000; i++) frames.push(h2frame(1, 4, 1 + 2 * i, i === 0 ? first : known))
    socket.write(Buffer.concat(frames))
  })
  setTimeout(() => socket.destroy(), 1_900)
  setTimeout(streams, 2_000)
}

if (kind === 'objects') for (let i = 0; i < 4; i++) flood('/objects', object())
if (kind === 'auth') for (let i = 0; i < 20; i++) flood('/auth', auth())
if (kind === 'streams') streams()
process.on('disconnect', () => process.exit(0))
