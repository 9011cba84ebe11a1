// Implements the carrier for HTTP/1.1: `Upgrade`, answered with 101.

import type { Carrier } from './carrier.ts'
import { emitClose, finishResponse, headerLines } from './finished-response.ts'
import { checkHandshake } from './handshake.ts'
import { writeRefusal } from './refusal.ts'

/** A GET with `Upgrade: websocket`, accepted with 101, on its TCP connection. */
export const http1: Carrier = {
  acceptStatus: 101,

  accepts: (status) => status === 101,

  // A 101 without an accept would promise a WebSocket that nothing serves.
  stray: {
    status: 500,
    text: 'Internal Server Error',
    error:
      'The chain ended with status 101, but without an accept: use ctx.ws(handler) in place of the status.',
  },

  check: checkHandshake,

  answerOf: ({ res }) => res,

  answered({ res, socket, takenOver }) {
    // A takeover has Node's own response: Node detaches it and emits `close`.
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

  letGo() {}, // Node does
}
