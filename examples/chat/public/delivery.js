// Delivers a message to the server, over several connections if necessary.
import { isStopping, reasonOf } from './reasons.js'

/** How long a message may wait, most of it for a connection, in milliseconds. */
const PATIENCE = 120_000

/** The message names its receiver by id. */
const sayOf = ({ id, text, to }) => ({ id, text, to: to?.id })

/** Returns the function that delivers a pending message of the log. */
export function createDelivery(client, log, toasts) {
  return async function deliver(said) {
    try {
      const { id, time } = await client.request('say', sayOf(said), { timeout: PATIENCE })
      log.confirmed(id, time)
    } catch (error) {
      if (isStopping(error)) await disconnected()
      const again = isStopping(error) || mayHaveArrived(error)
      if (again && client.state.status !== 'stopped') return deliver(said)
      const reason = reasonOf(error)
      log.failed(said, reason)
      toasts.show(`Not sent: ${reason}`)
    }
  }

  /** Resolves when the present connection has ended. */
  function disconnected() {
    return new Promise((resolve) => {
      const stop = client.subscribe(check)
      check()

      function check() {
        if (client.state.status === 'open') return
        stop()
        resolve()
      }
    })
  }

  /** True if the connection ended before the answer. Sending again is safe: every page shows an id once. */
  function mayHaveArrived({ code, sent }) {
    return code === 'ERR_KOAWS_CLOSED' && sent
  }
}
