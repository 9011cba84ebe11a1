import { once } from 'node:events'

export async function listening(server) {
  if (!server.listening) await once(server, 'listening')
  return server
}

/** Checks that koaws does by default, and the other contestants by hand. */
export function sameOrigin({ origin, host }) {
  return origin === undefined || origin === `http://${host}` || origin === `https://${host}`
}

function ignore() {}

function echo(data, isBinary) {
  this.send(data, { binary: isBinary })
}

// One function for all connections, so that closures of the benchmark are not measured.
const ON_MESSAGE = { none: undefined, idle: ignore, echo }

export function listener(behaviour) {
  const onMessage = ON_MESSAGE[behaviour]
  return (socket) => {
    if (onMessage) socket.on('message', onMessage)
  }
}

export function guard(socket) {
  socket.on('error', ignore)
}
