import { connect } from 'node:net'
import { ACCEPT, TOKENS, upgradeRequest } from './request.mjs'

/** An accepted, quiet socket. */
function openOne(port, request) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
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
      if (head.length > end + 4) return fail('unexpected bytes after the 101')
      socket.setTimeout(0)
      socket.off('data', onData).off('error', onError).off('close', onClose)
      resolve(socket)
    }
    socket.on('data', onData).on('error', onError).on('close', onClose)
    socket.setTimeout(10_000, () => fail('timeout'))
    socket.write(request)
  })
}

/** count sockets, opened 32 at a time. */
export async function open(port, count, browser) {
  const request = upgradeRequest(port, TOKENS.valid, browser)
  const sockets = []
  let left = count
  await Promise.all(
    Array.from({ length: Math.min(32, count) }, async () => {
      while (left > 0) {
        left--
        sockets.push(await openOne(port, request))
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
