import type { ServerResponse } from 'node:http'
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
export function whenAnswered(
  socket: Duplex,
  own: ServerResponse | null,
  run: () => void,
  gone?: () => void,
): void {
  const earlier = (socket as Answering)._httpMessage
  if (!earlier || earlier === own) {
    run()
    return
  }
  const onDrain = (): void => forwardDrain(earlier)
  const stop = (): void => {
    socket.off('drain', onDrain)
    socket.off('close', onClose)
    earlier.off('finish', onFinish)
  }
  const onClose = (): void => {
    stop()
    gone?.()
  }
  const onFinish = (): void => {
    stop()
    process.nextTick(() => {
      if (socket.destroyed) gone?.()
      else whenAnswered(socket, own, run, gone)
    })
  }
  socket.on('drain', onDrain)
  socket.on('close', onClose)
  earlier.on('finish', onFinish)
}

/** Tell a response that its socket takes more. */
export function forwardDrain(res: ServerResponse | null): void {
  if (res?.writableNeedDrain) res.emit('drain')
}
