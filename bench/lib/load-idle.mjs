import { drop, open } from './open.mjs'
import { takePings } from './pings.mjs'

let sockets = []
let lost = 0

export async function openIdle({ port, count }) {
  lost = 0
  // At once: the first are pinged while the last are opened.
  sockets = await open(port, count, true, (socket) => {
    socket.on('error', () => {}).on('close', () => lost++)
    socket.on('data', (bytes) => {
      takePings(bytes, 0, bytes.length, (pong) => socket.write(pong))
    })
  })
  return { open: sockets.length }
}

export function idleState() {
  return { open: sockets.length - lost, lost }
}

export async function dropIdle() {
  await drop(sockets)
  sockets = []
}
