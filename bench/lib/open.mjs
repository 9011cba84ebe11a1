import { connect } from 'node:net'
import { takePings } from './pings.mjs'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'

/** An accepted socket without traffic. */
function openOne(connectOne, request) {
  return new Promise((resolve, reject) => {
    const socket = connectOne()
    let head = ''
    const fail = (reason) => {
      socket.destroy()
      reject(new Error(reason))
    }
    const onError = (error) => fail(error.code ?? error.message)
    const onClose = () => fail('closed during the handshake')
    const onData = (chunk) => {
      head += chunk.latin1Slice()
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      if (!head.startsWith('HTTP/1.1 101 ') || !head.includes(ACCEPT)) {
        return fail(head.slice(0, head.indexOf('\r\n')))
      }
      // A ping may be due at once.
      const after = chunk.subarray(chunk.length - (head.length - end - 4))
      const { bytes, rest } = takePings(after, 0, after.length, (pong) => socket.write(pong))
      if (bytes.length > 0 || rest) return fail('unexpected bytes after the 101')
      socket.setTimeout(0)
      socket.off('data', onData).off('error', onError).off('close', onClose)
      resolve(socket)
    }
    socket.on('data', onData).on('error', onError).on('close', onClose)
    socket.setTimeout(10_000, () => fail('timeout'))
    socket.write(request)
  })
}

/** Opens count sockets, 32 at a time. */
export function open(port, count, browser, attach) {
  const request = upgradeRequest(port, TOKENS.valid, browser)
  return openWith(() => connect({ port, host: '127.0.0.1', noDelay: true }), request, count, attach)
}

/** The same over connections of connectOne(); each is passed to attach() before any of its data. */
export async function openWith(connectOne, request, count, attach = () => {}) {
  const sockets = []
  let left = count
  await Promise.all(
    Array.from({ length: Math.min(32, count) }, async () => {
      while (left > 0) {
        left--
        const socket = await openOne(connectOne, request)
        attach(socket)
        sockets.push(socket)
      }
    }),
  )
  return sockets
}

/** Resolves when all of them are closed. */
export function drop(sockets) {
  return Promise.all(
    sockets.map(
      (socket) =>
        new Promise((resolve) => {
          if (socket.destroyed) return resolve()
          socket.removeAllListeners('close')
          socket.on('close', resolve).on('error', () => {})
          socket.destroy()
        }),
    ),
  )
}
