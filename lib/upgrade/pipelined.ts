// Waits for the answers to earlier requests that were pipelined on the same connection.

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The response that writes to the socket. Undocumented, unchanged since 0.x. */
type Answering = Duplex & { _httpMessage?: ServerResponse | null }

/**
 * Calls `run` when the answers to earlier pipelined requests have left the socket (RFC 9112,
 * section 9.3.2: answers follow the order of requests). The response `own` may already use the
 * socket.
 *
 * Node has handed over the socket and no longer forwards `drain` to these responses, so this
 * function does. It calls `gone` when the socket closes first.
 */
export function whenAnswered(
  socket: Answering,
  own: ServerResponse | null,
  run: () => void,
  gone?: () => void,
): void {
  const earlier = socket._httpMessage
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

/** Emits `drain` on a response that waits for it, when its socket accepts data again. */
export function forwardDrain(res: ServerResponse | null): void {
  if (res?.writableNeedDrain) res.emit('drain')
}
