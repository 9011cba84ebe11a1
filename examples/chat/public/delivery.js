// Gets a message to the server, over as many connections as it takes.
import { reasonOf } from './reasons.js'

/** How long a message may wait, most of it for a connection, in milliseconds. */
const PATIENCE = 120_000

/** The receiver is told by id. */
const sayOf = ({ id, text, to }) => ({ id, text, to: to?.id })

/** Makes the function that delivers what stands in the log as being sent. */
export function createDelivery(client, log, toasts) {
  return async function deliver(said) {
    try {
      const { id, time } = await client.request('say', sayOf(said), { timeout: PATIENCE })
      log.confirmed(id, time)
    } catch (error) {
      if (mayHaveArrived(error) && client.state.status !== 'stopped') return deliver(said)
      const reason = reasonOf(error)
      log.failed(said, reason)
      toasts.show(`Not sent: ${reason}`)
    }
  }

  /** The connection ended before the answer. It can be said again: every page shows an id once. */
  function mayHaveArrived({ code, sent }) {
    return code === 'ERR_KOAWS_CLOSED' && sent
  }
}
