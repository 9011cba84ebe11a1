import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** Node's own mark on a socket: the response that writes to it now. Undocumented, unchanged since 0.x. */
interface Answering {
  _httpMessage?: ServerResponse | null
}

/**
 * Run something once the socket is free of the answers to requests that were pipelined before the
 * upgrade (RFC 9112, section 9.3.2: answers in the order of the requests). `own` may have it.
 *
 * Node has let go of the socket by then, and forwards no `drain` any more: it is done here.
 */
export function whenAnswered(socket: Duplex, own: ServerResponse | null, run: () => void): void {
  const earlier = (socket as Answering)._httpMessage
  if (!earlier || earlier === own) {
    run()
    return
  }
  const onDrain = (): void => forwardDrain(earlier)
  const onFinish = (): void => {
    socket.off('drain', onDrain)
    process.nextTick(() => {
      if (!socket.destroyed) whenAnswered(socket, own, run)
    })
  }
  socket.on('drain', onDrain)
  earlier.once('finish', onFinish)
}

/** Tell a response that its socket takes more. */
export function forwardDrain(res: ServerResponse | null): void {
  if (res?.writableNeedDrain) res.emit('drain')
}

/** Whether the socket is still busy with the answer to an earlier request. */
export function isAnswering(req: IncomingMessage, own: ServerResponse | null): boolean {
  const earlier = (req.socket as unknown as Answering)._httpMessage
  return Boolean(earlier) && earlier !== own
}
