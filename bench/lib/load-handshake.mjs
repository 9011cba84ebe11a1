import { connect } from 'node:net'
import { takePings } from './pings.mjs'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'

// FIN, close, masked with zeros, code 1000.
const CLOSE = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
const MAX_ERRORS = 50

/** Connect, upgrade, 101, close frame, close frame, end of TCP. Returns null, or the error. */
function accepted(port, request, done) {
  let head = ''
  let opened = false
  let closing = false
  let failure = null
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const fail = (reason) => {
    failure ??= reason
    socket.destroy()
  }
  const afterHead = (received) => {
    // A ping may be due at once.
    const { bytes } = takePings(received, 0, received.length, () => {})
    if (bytes.length === 0) return
    if (bytes[0] !== 0x88) return fail(`expected a close frame, got 0x${bytes[0].toString(16)}`)
    closing = true
  }
  socket.write(request)
  socket.setTimeout(10_000, () => fail('timeout'))
  socket.on('data', (chunk) => {
    if (opened) {
      if (!closing) afterHead(chunk)
      return
    }
    const text = head + chunk.latin1Slice()
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) {
      head = text
      return
    }
    if (!text.startsWith('HTTP/1.1 101 ')) return fail(text.slice(0, text.indexOf('\r\n')))
    if (!text.includes(ACCEPT)) return fail('wrong Sec-WebSocket-Accept')
    opened = true
    socket.write(CLOSE)
    afterHead(chunk.subarray(end + 4 - head.length))
  })
  socket.on('error', (error) => fail(error.code ?? error.message))
  socket.on('close', () => done(failure ?? (closing ? null : 'ended without a close frame')))
}

/** Connect, upgrade, the complete 401 with its JSON, end of TCP. */
function rejected(port, request, done) {
  let text = ''
  let whole = false
  let failure = null
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const fail = (reason) => {
    failure ??= reason
    socket.destroy()
  }
  socket.write(request)
  socket.setTimeout(10_000, () => fail('timeout'))
  socket.on('data', (chunk) => {
    text += chunk.latin1Slice()
    if (whole) return fail('bytes after the response')
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return
    if (!text.startsWith('HTTP/1.1 401 ')) return fail(text.slice(0, text.indexOf('\r\n')))
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)
    if (!length) return fail('no Content-Length')
    if (text.length < end + 4 + Number(length[1])) return
    if (text[end + 4] !== '{') return fail('no JSON body')
    whole = true
    // Some servers keep the connection alive after a 401; the client ends it.
    socket.end()
  })
  socket.on('error', (error) => fail(error.code ?? error.message))
  socket.on('close', () => done(failure ?? (whole ? null : 'ended without a response')))
}

/** Runs count handshakes, concurrency of them at a time. */
export function handshakes({ port, mode, count, concurrency, browser = false }) {
  const one = mode === 'accepted' ? accepted : rejected
  const token = mode === 'accepted' ? TOKENS.valid : TOKENS.invalid
  const request = upgradeRequest(port, token, browser)
  const reasons = {}
  let started = 0
  let finished = 0
  let errors = 0
  const cpu = process.cpuUsage()
  const from = process.hrtime.bigint()
  return new Promise((resolve) => {
    const done = (reason) => {
      finished++
      if (reason !== null) {
        errors++
        reasons[reason] = (reasons[reason] ?? 0) + 1
      }
      if (started < count && errors <= MAX_ERRORS) next()
      else if (finished === started) {
        const { user, system } = process.cpuUsage(cpu)
        const wallUs = Number(process.hrtime.bigint() - from) / 1000
        resolve({ operations: finished, errors, reasons, wallUs, clientCpuUs: user + system })
      }
    }
    const next = () => {
      started++
      one(port, request, done)
    }
    for (let i = 0; i < Math.min(concurrency, count); i++) next()
  })
}
