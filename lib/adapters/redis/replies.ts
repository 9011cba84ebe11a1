import { messageOf } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'

/** Answers of a server that is not ready, or not the right one any more: another try may succeed. */
const TRANSIENT = new Set([
  'LOADING',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'NOAUTH',
  'WRONGPASS',
])

/** Whether Redis itself answered with an error, which it would again. */
export function isRefusal(error: unknown): boolean {
  if (!isReply(error)) return false
  const [code] = /^[A-Z]+/.exec(String((error as Error).message)) ?? []
  return !TRANSIENT.has(code ?? '')
}

/** An error of an adapter for one of a client. */
export function adapterError(what: string, error: unknown): AdapterError {
  const code = isRefusal(error) ? 'ERR_KOAWS_BACKPLANE_REFUSED' : 'ERR_KOAWS_BACKPLANE'
  return new AdapterError(code, `${what}: ${messageOf(error)}`, { cause: error })
}

/** ioredis has `ReplyError`; node-redis has `ErrorReply`, and `SimpleError` and `BlobError` below it. */
function isReply(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = Object.getPrototypeOf(at)) {
    const name = (at as Error).constructor.name
    if (name === 'ReplyError' || name === 'ErrorReply') return true
  }
  return false
}
