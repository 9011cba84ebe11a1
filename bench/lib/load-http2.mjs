import { Members } from './broadcast-members.mjs'
import { openCarried } from './carried.mjs'
import { EchoConnection, runAll } from './echo-connection.mjs'
import { echoFrames } from './load-echo.mjs'
import { takePings } from './pings.mjs'

let close = async () => {}
let connections = []
let members = null
let idle = 0
let lost = 0

function watchIdle(socket) {
  idle++
  socket.on('error', () => {}).on('close', () => lost++)
  socket.on('data', (chunk) => {
    const { bytes } = takePings(chunk, 0, chunk.length, (pong) => socket.write(pong))
    if (bytes.length > 0) lost++ // the server sends it nothing
  })
}

/** The use of an open WebSocket. */
const attach = {
  echo: (socket) => connections.push(new EchoConnection(socket, echoFrames(connections.length))),
  members: (socket) => members.add(socket),
  idle: watchIdle,
}

/** @param what 'echo', 'members' or 'idle' */
export async function openOver({ what, ...how }) {
  connections = []
  members = new Members()
  idle = 0
  lost = 0
  close = await openCarried(how, attach[what])
}

export function echoOver(load) {
  return runAll(connections, load)
}

export function broadcastOver(load) {
  return members.run(load)
}

export function idleOver() {
  return { open: idle - lost, lost }
}

export async function dropOver() {
  await close()
  close = async () => {}
  connections = []
  members = null
}
