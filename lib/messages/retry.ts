// Makes the attempt at a request that may be sent again.

import type { Connection } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import type { Envelope } from '../protocol/envelope.ts'
import type { Attempt } from '../retry/attempt.ts'
import type { RetryOwner } from '../retry/quota.ts'
import type { Retries } from '../retry/retries.ts'
import { WINDOW } from '../retry/store.ts'

/** Returns how long the server recognizes a request that is sent again, in milliseconds, or null. */
export function retryWindow(core: ConnectionCore<Connection>): number | null {
  return core.owner?.retries ? WINDOW : null
}

/** The largest number of claimed streams of one user, or of one connection without a user, in 150 s. */
const STREAM_KEYS = 1_024

/** Returns the attempt at a request with a key; undefined for any other message. */
export function attemptAt(
  envelope: Envelope,
  core: ConnectionCore<Connection>,
): Attempt | undefined {
  const { owner, connection } = core
  if (envelope.id === undefined || !owner?.retries) return undefined
  const { userId } = connection
  const name = [userId ?? null, userId === undefined && connection.id]
  return attemptOf(envelope, core, owner.retries, { name: JSON.stringify(name) })
}

/** Returns the attempt at a stream with a key; undefined where other instances would not know of it. */
export function streamAttempt(
  envelope: Envelope,
  core: ConnectionCore<Connection>,
): Attempt | undefined {
  const { owner, connection } = core
  if (!owner?.retries?.isShared) return undefined
  const name = ['streams', connection.userId ?? null, connection.id]
  const part = connection.userId === undefined ? name : name.slice(0, 2)
  return attemptOf(envelope, core, owner.retries, { name: JSON.stringify(part), keys: STREAM_KEYS })
}

function attemptOf(
  { key, again = false, type, data }: Envelope,
  core: ConnectionCore<Connection>,
  retries: Retries,
  owner: Omit<RetryOwner, 'isAnonymous'>,
): Attempt | undefined {
  if (key === undefined) return undefined
  const { userId: user, path, signal: ended } = core.connection
  return retries.attempt({
    owner: { ...owner, isAnonymous: user === undefined },
    user,
    path,
    key,
    again,
    type,
    data,
    ended,
    count: (reason) => core.count(reason),
  })
}
