import type { Carrier } from './carrier.ts'
import { emitClose, finishResponse, headerLines } from './finished-response.ts'
import { checkHandshake } from './handshake.ts'
import { writeRefusal } from './refusal.ts'

/** A GET request with `Upgrade: websocket`, accepted with 101; the TCP connection is the WebSocket's. */
export const http1: Carrier = {
  acceptStatus: 101,

  accepts: (status) => status === 101,

  // A 101 that no handler stands behind would be a promise that nobody keeps.
  stray: {
    status: 500,
    text: 'Internal Server Error',
    error: 'The chain ended with status 101, but nothing accepted: use ctx.ws(handler).',
  },

  check: checkHandshake,

  answerOf: ({ res }) => res,

  answered({ res, socket, takenOver }) {
    // The takeover's response is Node's own: Node detaches it and tells of its close.
    if (takenOver || res.socket !== socket) return
    res.detachSocket(socket as never)
    process.nextTick(emitClose, res)
  },

  refuse: writeRefusal,

  switch({ req, res, socket, head }, acceptor, subprotocol) {
    return acceptor.accept(req, socket, head, subprotocol, headerLines(res))
  },

  finish({ res, socket, takenOver }, onError) {
    finishResponse(res, socket, takenOver, onError)
  },

  letGo() {}, // Node has
}
