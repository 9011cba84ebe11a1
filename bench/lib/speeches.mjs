/**
 * The protocol of each contestant of messages.mjs: the handshake, the server's messages before the
 * first request, and the texts of a request and of its reply. All carry the same data.
 */

const SIZE = 78
const FIRST_ID = 1000
const RING = 64

function dataOf(connection, i) {
  const data = { room: 'lobby', text: `from ${connection}, ${i} ` }
  const missing = SIZE - requestText(FIRST_ID, data).length
  if (missing < 0) throw new Error('a message of a wrong size')
  return { ...data, text: data.text.padEnd(data.text.length + missing, '.') }
}

function requestText(id, data) {
  return JSON.stringify({ type: 'echo', id, data })
}

function replyText(id, data) {
  return JSON.stringify({ type: 'koaws:reply', id, data })
}

const ROOM = '/room/lobby'
const SOCKET_IO = '/socket.io/?EIO=4&transport=websocket'
const CONNECT_TO_NAMESPACE = [{ expect: '0{', answer: '40' }, { expect: '40{' }]

export const speeches = {
  /** The reply is the request. */
  same: { path: ROOM, greeting: [], request: requestText, reply: requestText },
  /** The messages of koaws.v1, without its handshake. */
  envelope: { path: ROOM, greeting: [], request: requestText, reply: replyText },
  'koaws.v1': {
    path: ROOM,
    subprotocol: 'koaws.v1',
    greeting: [{ expect: '{"type":"koaws:welcome"' }],
    request: requestText,
    reply: replyText,
  },
  'socket.io': {
    path: SOCKET_IO,
    greeting: CONNECT_TO_NAMESPACE,
    request: (_id, data) => `42${JSON.stringify(['echo', data])}`,
    reply: (_id, data) => `42${JSON.stringify(['echo', data])}`,
  },
  'socket.io with acknowledgement': {
    path: SOCKET_IO,
    greeting: CONNECT_TO_NAMESPACE,
    request: (id, data) => `42${id}${JSON.stringify(['echo', data])}`,
    reply: (id, data) => `43${id}${JSON.stringify([data])}`,
  },
}

/** The messages that one connection sends repeatedly, and the expected replies. */
export function textsOf({ request, reply }, connection) {
  const texts = { requests: [], replies: [] }
  for (let i = 0; i < RING; i++) {
    const data = dataOf(connection, i)
    texts.requests.push(request(FIRST_ID + i, data))
    texts.replies.push(reply(FIRST_ID + i, data))
  }
  return texts
}
