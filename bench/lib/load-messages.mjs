import { connect } from 'node:net'
import { EchoConnection, framesOf, maskedText, runAll } from './echo-connection.mjs'
import { drop } from './open.mjs'
import { takePings } from './pings.mjs'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'
import { speeches, textsOf } from './speeches.mjs'

function handshakeOf(port, { path, subprotocol }) {
  const more = subprotocol ? `\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n` : '\r\n\r\n'
  return upgradeRequest(port, TOKENS.valid)
    .toString('latin1')
    .replace('GET /room/lobby ', `GET ${path} `)
    .replace('\r\n\r\n', more)
}

/**
 * Returns the text of the first frame in the bytes, and the rest; null while the frame is
 * incomplete.
 */
function firstText(bytes) {
  if (bytes.length < 4) return null
  if (bytes[0] !== 0x81) throw new Error(`expected a text frame, got 0x${bytes[0].toString(16)}`)
  const isShort = bytes[1] < 126
  const from = isShort ? 2 : 4
  const end = from + (isShort ? bytes[1] : bytes.readUInt16BE(2))
  if (bytes.length < end) return null
  return { text: bytes.toString('utf8', from, end), rest: bytes.subarray(end) }
}

/** A socket that was accepted and has received the greeting. */
export function openSpeaking(port, speech) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const greeting = [...speech.greeting]
    let bytes = Buffer.alloc(0)
    let accepted = false
    const fail = (reason) => {
      socket.destroy()
      reject(new Error(reason))
    }
    const onError = (error) => fail(error.code ?? error.message)
    const onClose = () => fail('closed before the first message')
    const readHead = () => {
      const end = bytes.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = bytes.toString('latin1', 0, end)
      if (!head.startsWith('HTTP/1.1 101 ') || !head.includes(ACCEPT)) {
        throw new Error(head.split('\r\n', 1)[0])
      }
      accepted = true
      bytes = bytes.subarray(end + 4)
    }
    /** A ping may be due at once. */
    const skipPings = () => {
      const taken = takePings(bytes, 0, bytes.length, (pong) => socket.write(pong))
      bytes = taken.rest ?? taken.bytes
    }
    const readGreeting = () => {
      skipPings()
      while (greeting.length > 0) {
        const first = firstText(bytes)
        if (first === null) return
        const { expect, answer } = greeting.shift()
        if (!first.text.startsWith(expect)) throw new Error(`expected ${expect}, got ${first.text}`)
        if (answer) socket.write(maskedText(answer))
        bytes = first.rest
        skipPings()
      }
    }
    const onData = (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      try {
        if (!accepted) readHead()
        if (accepted) readGreeting()
      } catch (error) {
        return fail(error.message)
      }
      if (!accepted || greeting.length > 0) return
      if (bytes.length > 0) return fail('more than the greeting')
      socket.setTimeout(0)
      socket.off('data', onData).off('error', onError).off('close', onClose)
      resolve(socket)
    }
    socket.on('data', onData).on('error', onError).on('close', onClose)
    socket.setTimeout(10_000, () => fail('timeout'))
    socket.write(handshakeOf(port, speech))
  })
}

let sockets = []
let connections = []

export async function openMessages({ port, count, speech: name }) {
  const speech = speeches[name]
  sockets = []
  for (let i = 0; i < count; i++) sockets.push(await openSpeaking(port, speech))
  connections = sockets.map((socket, index) => {
    const { requests, replies } = textsOf(speech, index)
    return new EchoConnection(socket, framesOf(requests, replies))
  })
}

export function runMessages(load) {
  return runAll(connections, load)
}

export async function closeMessages() {
  await drop(sockets)
  sockets = []
  connections = []
}
