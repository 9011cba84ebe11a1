// Tells what an error of Redis ends: one call, the history, or the connections of the link.
import { AdapterError } from '../../../errors.ts'
import { adapterError, codeOf, isRefusal, textOf } from '../replies.ts'

/**
 * Codes of a server that does not run the scripts now, but takes publishes: the link stays up. In a
 * cluster, the log may have moved to another node.
 */
const OF_HISTORY: ReadonlySet<string> = new Set([
  'NOSCRIPT',
  'NOPERM',
  'MISCONF',
  'NOREPLICAS',
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'CLUSTERDOWN',
])

/**
 * Returns what an error ends. After an error of a `call`, nothing has been recorded, and another
 * attempt would fail as well: the memory is full, or the key holds something else.
 */
export function endedBy(error: unknown): 'call' | 'history' | 'link' {
  const first = error instanceof AdapterError && error.cause !== undefined ? error.cause : error
  const code = codeOf(first)
  if (OF_HISTORY.has(code)) return 'history'
  return code === 'OOM' || isRefusal(first) ? 'call' : 'link'
}

/** Returns the reason why the history is down. */
export function reasonOf(error: unknown, isCluster: boolean): AdapterError {
  if (codeOf(error) !== 'MOVED' || isCluster) return adapterError('Redis', error)
  const why = 'this Redis is a node of a cluster: give redisAdapter() a cluster client'
  return new AdapterError('ERR_KOAWS_BACKPLANE', `${why}: ${textOf(error)}`, { cause: error })
}

/** Returns an error of a call with an unknown outcome. */
export function unknownOutcome(reason: AdapterError): AdapterError {
  if (reason.code === 'ERR_KOAWS_BACKPLANE') return reason
  return new AdapterError('ERR_KOAWS_BACKPLANE', reason.message, { cause: reason })
}

export function refusal(why: string, cause?: unknown): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', why, { cause })
}

export function broken(why: string): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', why)
}
