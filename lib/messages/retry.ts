// Makes the attempt at a request that may be sent again.

import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import type { Envelope } from '../protocol/envelope.ts'
import type { Attempt } from '../retry/attempt.ts'
import { WINDOW } from '../retry/store.ts'

/** Returns how long the server recognizes a request that is sent again, in milliseconds, or null. */
export function retryWindow(core: ConnectionCore<Connection>): number | null {
  return core.owner?.retries ? WINDOW : null
}

/** Returns the attempt at a request with a key; undefined for any other message. */
export function attemptAt(
  { id, key, again = false, type, data }: Envelope,
  core: ConnectionCore<Connection>,
): Attempt | undefined {
  const { owner, connection } = core
  if (id === undefined || key === undefined || !owner?.retries) return undefined
  const { userId, path } = connection
  return owner.retries.attempt({
    owner: {
      name: JSON.stringify([userId ?? null, userId === undefined && connection.id]),
      isAnonymous: userId === undefined,
    },
    user: userId,
    path,
    key,
    again,
    type,
    data,
    ended: connection.signal,
    count: (reason) => core.count(reason),
  })
}
