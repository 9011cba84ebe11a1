import { EchoConnection, framesOf, runAll } from './echo-connection.mjs'
import { drop, open } from './open.mjs'

const PAYLOAD = 32
const RING = 64

/** Data that one of many connections sends and receives. */
export function echoFrames(connection) {
  const texts = Array.from({ length: RING }, (_, i) =>
    `connection ${connection} message ${i} `.padEnd(PAYLOAD, '.'),
  )
  return framesOf(texts, texts)
}

let sockets = []
let connections = []

export async function openEcho({ port, count }) {
  sockets = await open(port, count, false)
  connections = sockets.map((socket, index) => new EchoConnection(socket, echoFrames(index)))
}

export function runEcho(load) {
  return runAll(connections, load)
}

export async function closeEcho() {
  await drop(sockets)
  sockets = []
  connections = []
}
